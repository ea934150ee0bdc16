#!/bin/sh
# Builds the default image by hand; the gateway does the same by itself when the image is missing.
set -eu

image=${CONTAINER_IMAGE:-hermitcrab-agent:latest}
docker=${DOCKER:-docker}

exec "$docker" build --tag "$image" - <"$(dirname "$0")/Dockerfile"
