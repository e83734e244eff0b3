//! What every pod of ours has.

/// Volumes that every pod has.
pub(super) const OWN_VOLUMES: [&str; 3] = ["config", "data", "tmp"];
/// Paths that every pod has.
const OWN_PATHS: [&str; 4] = ["/data", "/secrets", "/etc/edgereel", "/tmp"];

/// Whether every pod has something of its own there.
pub(super) fn is_own_path(path: &str) -> bool {
    path == "/" || OWN_PATHS.iter().any(|own| lies_in(path, own))
}

/// Whether `path` is `directory` or below it, or holds it.
fn lies_in(path: &str, directory: &str) -> bool {
    let parts =
        |path: &str| path.split('/').filter(|p| !p.is_empty() && *p != ".").map(str::to_owned).collect::<Vec<_>>();
    let (path, directory) = (parts(path), parts(directory));
    let shorter = path.len().min(directory.len());
    path[..shorter] == directory[..shorter]
}
