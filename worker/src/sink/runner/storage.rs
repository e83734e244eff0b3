//! Where a sink writes: found, and looked at.

use std::path::{Path, PathBuf};

use edgereel_crds::{frame_sink::Storage, status::Reason};
use nix::sys::statvfs::statvfs;

use crate::{fault::Fault, metrics::SinkMetrics};

/// The storage's root: `--storage-root`, else the resource's own path. It has to be there: a missing one is a disk that
/// is not mounted.
pub fn root(storage: &Storage, given: Option<&Path>) -> Result<PathBuf, Fault> {
    let root = match (given, storage) {
        (Some(given), _) => given.to_path_buf(),
        (None, Storage::HostPath(host)) => PathBuf::from(&host.path),
        (None, Storage::PersistentVolumeClaim(claim)) => {
            let message = format!(
                "spec.storage.persistentVolumeClaim `{}` is known to Kubernetes only; say where it is with \
                 `--storage-root DIR`",
                claim.claim_name
            );
            return Err(Fault::new(Reason::InvalidConfiguration, message));
        }
        (None, Storage::VolumeClaimTemplate(_)) => {
            let message = "spec.storage.volumeClaimTemplate is known to Kubernetes only; say where it is with \
                           `--storage-root DIR`";
            return Err(Fault::new(Reason::InvalidConfiguration, message));
        }
    };
    match root.metadata() {
        Ok(found) if found.is_dir() => Ok(root),
        Ok(_) => {
            let message = format!("spec.storage: {} is not a directory: name one", root.display());
            Err(Fault::new(Reason::StorageMissing, message))
        }
        Err(e) => {
            let message =
                format!("spec.storage: {} cannot be used: {e}; mount the disk or make the directory", root.display());
            Err(Fault::new(Reason::StorageMissing, message))
        }
    }
}

/// Tells the size and the free space of the file system.
pub fn measure(root: &Path, metrics: &SinkMetrics) {
    let Ok(found) = statvfs(root) else { return };
    let bytes = |blocks: u64| i64::try_from(blocks.saturating_mul(found.fragment_size())).unwrap_or(i64::MAX);
    metrics.disk_free.set(bytes(found.blocks_available()));
    metrics.disk_size.set(bytes(found.blocks()));
}

#[cfg(test)]
mod tests {
    use edgereel_crds::frame_sink::{HostPath, PersistentVolumeClaim};

    use super::*;

    #[test]
    fn a_disk_that_is_not_mounted_is_named_and_not_made() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("ssd");
        let storage = Storage::HostPath(HostPath { path: path.to_string_lossy().into_owned() });
        let fault = root(&storage, None).expect_err("missing");
        assert_eq!(fault.reason, Reason::StorageMissing);
        assert!(fault.message.contains("ssd") && fault.message.contains("mount the disk"), "{fault}");
        assert!(!path.exists());
        std::fs::write(&path, "").expect("written");
        assert!(root(&storage, None).expect_err("a file").message.contains("not a directory"));
        assert_eq!(root(&storage, Some(dir.path())).expect("given"), dir.path());
    }

    #[test]
    fn a_claim_needs_to_be_told_where_it_is() {
        let storage = Storage::PersistentVolumeClaim(PersistentVolumeClaim { claim_name: "frames".into() });
        assert!(root(&storage, None).expect_err("unknown").message.contains("--storage-root"));
    }
}
