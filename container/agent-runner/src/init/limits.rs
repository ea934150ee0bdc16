//! Resource limits, as the gateway names them.

use std::io;

use rustix::process::{Resource, Rlimit};

/// One `--rlimit NAME=VALUE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit {
    resource: Resource,
    /// In the resource's own unit: bytes for `as`, `core`, `data` and `fsize`, a count for `nofile` and `nproc`.
    value: u64,
}

impl Limit {
    /// Reads `NAME=VALUE`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (name, value) = text.split_once('=')?;
        let resource = match name {
            "as" => Resource::As,
            "core" => Resource::Core,
            "data" => Resource::Data,
            "fsize" => Resource::Fsize,
            "nofile" => Resource::Nofile,
            "nproc" => Resource::Nproc,
            _ => return None,
        };
        Some(Self { resource, value: value.parse().ok()? })
    }
}

/// Sets every limit for good; one that is stricter already stays.
///
/// # Errors
///
/// The kernel refuses one.
pub(crate) fn apply(limits: &[Limit]) -> io::Result<()> {
    for limit in limits {
        let before = rustix::process::getrlimit(limit.resource);
        let value = Some(before.maximum.map_or(limit.value, |most| most.min(limit.value)));
        rustix::process::setrlimit(limit.resource, Rlimit { current: value, maximum: value })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_strictly() {
        let limit = |resource, value| Some(Limit { resource, value });
        for (text, expected) in [
            ("core=0", limit(Resource::Core, 0)),
            ("nofile=1024", limit(Resource::Nofile, 1024)),
            ("nproc=64", limit(Resource::Nproc, 64)),
            ("fsize=1", limit(Resource::Fsize, 1)),
            ("as=1", limit(Resource::As, 1)),
            ("core", None),
            ("core=", None),
            ("core=-1", None),
            ("core=1k", None),
            ("stack=1", None),
        ] {
            assert_eq!(Limit::parse(text), expected, "{text}");
        }
    }
}
