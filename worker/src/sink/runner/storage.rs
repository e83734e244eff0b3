//! Looks at the disk that a sink writes to.

use std::path::Path;

use nix::sys::statvfs::statvfs;

use crate::sink::metrics::SinkMetrics;

/// The size of the file system, and how much of it is free, in bytes.
pub fn figures(root: &Path) -> Option<(u64, u64)> {
    let found = statvfs(root).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.fragment_size());
    Some((bytes(found.blocks()), bytes(found.blocks_available())))
}

/// Tells the size and the free space of the file system.
pub fn measure(root: &Path, metrics: &SinkMetrics) {
    let Some((size, free)) = figures(root) else { return };
    metrics.disk_free.set(i64::try_from(free).unwrap_or(i64::MAX));
    metrics.disk_size.set(i64::try_from(size).unwrap_or(i64::MAX));
}
