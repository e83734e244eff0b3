//! Which devices there are, and who has them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Where udev names devices by what they are, and by where they are plugged in.
const NAMED: [&str; 2] = ["/dev/v4l/by-id", "/dev/v4l/by-path"];
/// Where the kernel lists them.
const LISTED: &str = "/sys/class/video4linux";

/// A device's file, and the name that stays with the camera.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The path that a resource names best.
    pub path: String,
    /// The file that it leads to now.
    pub node: PathBuf,
}

/// All of them, whatever they do: those that begin a camera first, in the kernel's order.
pub fn devices() -> Vec<Listed> {
    let mut nodes: Vec<(u64, PathBuf)> = entries("/dev")
        .filter_map(|path| {
            let number = path.file_name()?.to_str()?.strip_prefix("video")?.parse().ok()?;
            Some((number, path))
        })
        .collect();
    nodes.sort();
    let names = by_node();
    let named = nodes.into_iter().map(|(_, node)| {
        let path = names.get(&node).cloned().unwrap_or_else(|| node.to_string_lossy().into_owned());
        Listed { path, node }
    });
    named.collect()
}

/// The first device of each camera, by the name that a resource has best. A camera's further devices have no pictures.
pub fn names() -> Vec<String> {
    let first = |device: &Listed| {
        let name = device.node.file_name().unwrap_or_default();
        let index = fs::read_to_string(Path::new(LISTED).join(name).join("index"));
        index.is_ok_and(|index| index.trim() == "0")
    };
    devices().into_iter().filter(first).map(|device| printable(&device.path)).collect()
}

/// The best name of each file that has one.
fn by_node() -> BTreeMap<PathBuf, String> {
    let mut names = BTreeMap::new();
    for directory in NAMED {
        let mut links: Vec<PathBuf> = entries(directory).collect();
        links.sort();
        for link in links {
            names.entry(resolved(&link)).or_insert_with(|| link.to_string_lossy().into_owned());
        }
    }
    names
}

fn entries(directory: &str) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// The program that has a device open, as far as this user may see: `ffmpeg, process 123`.
pub fn holder(path: &str) -> Option<String> {
    let (device, own) = (resolved(Path::new(path)), std::process::id().to_string());
    let processes = entries("/proc").filter(|process| {
        let id = process.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        id != own && id.bytes().all(|byte| byte.is_ascii_digit())
    });
    processes.into_iter().find_map(|process| {
        let files = fs::read_dir(process.join("fd")).ok()?;
        let has = files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|target| target == device));
        let name = fs::read_to_string(process.join("comm")).ok()?;
        has.then(|| {
            format!("{}, process {}", printable(&name), process.file_name().unwrap_or_default().to_string_lossy())
        })
    })
}

/// What a driver says must not break a line.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned()
}

/// The device that a path leads to.
fn resolved(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_a_file_open_is_named() {
        let mut sleep = std::process::Command::new("sleep");
        let file = tempfile::NamedTempFile::new().expect("a file");
        let path = file.path().to_string_lossy().into_owned();
        assert_eq!(holder(&path), None, "nobody else has it");
        let opened = fs::File::open(&path).expect("readable");
        let mut child = sleep.arg("600").stdin(opened).spawn().expect("sleep is everywhere");
        let who = holder(&path);
        child.kill().and_then(|()| child.wait()).expect("ended");
        assert_eq!(who, Some(format!("sleep, process {}", child.id())));
    }
}
