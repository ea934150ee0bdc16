//! The image: there, pulled, or built from the Dockerfile that is part of this program.

use bollard::models::{BuildInfo, CreateImageInfo};
use bollard::query_parameters::{BuildImageOptionsBuilder, CreateImageOptionsBuilder};
use bollard::{Docker, body_full};
use futures_util::{Stream, StreamExt};
use tracing::{debug, info};

use crate::sandbox::SandboxError;

/// The image that is used where no other is named; under any tag it is built when it is missing.
const DEFAULT_IMAGE: &str = "hermitcrab-agent";
/// What it is built from.
const DOCKERFILE: &str = include_str!("../../../container/Dockerfile");

/// Makes sure that an image is there.
///
/// # Errors
/// When it is not there afterwards, with the command that mends it.
pub(super) async fn ensure(docker: &Docker, image: &str) -> Result<(), SandboxError> {
    match docker.inspect_image(image).await {
        Ok(_there) => return Ok(()),
        Err(error) if super::status(&error) == Some(404) => {}
        Err(error) => return Err(SandboxError::failed("look for the image", error)),
    }
    let got =
        if is_default(image) { build(docker, image).await } else { pull(docker, image).await };
    got.map_err(|reason| no_image(image, reason))
}

/// The image has gone since the start.
pub(super) fn missing(image: &str, error: &bollard::errors::Error) -> SandboxError {
    no_image(image, error.to_string())
}

fn no_image(image: &str, reason: String) -> SandboxError {
    let mend = if is_default(image) {
        format!("docker build --tag {image} - < container/Dockerfile")
    } else {
        format!("docker pull {image}")
    };
    SandboxError::NoImage { image: image.to_owned(), reason, mend }
}

fn is_default(image: &str) -> bool {
    image.split(':').next() == Some(DEFAULT_IMAGE)
}

async fn build(docker: &Docker, image: &str) -> Result<(), String> {
    info!(image, "the image is being built; this takes a minute and happens once");
    let context = context().map_err(|error| error.to_string())?;
    let options = BuildImageOptionsBuilder::default().t(image).rm(true).forcerm(true).build();
    let steps = docker.build_image(options, None, Some(body_full(context.into())));
    follow(steps, |step: BuildInfo| {
        (step.stream, step.error_detail.and_then(|detail| detail.message))
    })
    .await
}

async fn pull(docker: &Docker, image: &str) -> Result<(), String> {
    info!(image, "the image is being pulled");
    // Without a tag the daemon would pull all that there are.
    let tagged = image.rsplit('/').next().is_some_and(|last| last.contains([':', '@']));
    let reference = if tagged { image.to_owned() } else { format!("{image}:latest") };
    let options = CreateImageOptionsBuilder::default().from_image(&reference).build();
    let steps = docker.create_image(Some(options), None, None);
    follow(steps, |step: CreateImageInfo| {
        (step.status, step.error_detail.and_then(|detail| detail.message))
    })
    .await
}

/// Follows the steps of a build or a pull to their end; the last line of what was said is the reason of a failure.
async fn follow<T>(
    steps: impl Stream<Item = Result<T, bollard::errors::Error>>,
    read: impl Fn(T) -> (Option<String>, Option<String>),
) -> Result<(), String> {
    let mut steps = std::pin::pin!(steps);
    while let Some(step) = steps.next().await {
        let (said, failure) = read(step.map_err(|error| error.to_string())?);
        if let Some(failure) = failure {
            return Err(failure);
        }
        if let Some(said) = said.as_deref().map(str::trim).filter(|said| !said.is_empty()) {
            if said.starts_with("Step ") {
                info!(step = said, "building the image");
            } else {
                debug!(step = said, "preparing the image");
            }
        }
    }
    Ok(())
}

/// The context of the build: a tar archive that holds the Dockerfile.
fn context() -> std::io::Result<Vec<u8>> {
    let mut header = tar::Header::new_gnu();
    header.set_size(DOCKERFILE.len().try_into().map_err(std::io::Error::other)?);
    header.set_mode(0o644);
    header.set_cksum();
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, "Dockerfile", DOCKERFILE.as_bytes())?;
    archive.into_inner()
}
