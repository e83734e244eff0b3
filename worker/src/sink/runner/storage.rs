//! Looks at the disk that a sink writes to.

use std::path::Path;

use nix::sys::statvfs::statvfs;

use crate::sink::metrics::SinkMetrics;

/// Tells the size and the free space of the file system.
pub fn measure(root: &Path, metrics: &SinkMetrics) {
    let Ok(found) = statvfs(root) else { return };
    let bytes = |blocks: u64| i64::try_from(blocks.saturating_mul(found.fragment_size())).unwrap_or(i64::MAX);
    metrics.disk_free.set(bytes(found.blocks_available()));
    metrics.disk_size.set(bytes(found.blocks()));
}
