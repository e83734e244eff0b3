//! What there is to read, in its order: videos, and sequences of pictures.

use std::{
    cmp::Ordering,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use edgereel_crds::file::{Pattern, matches};
use edgereel_runtime::fault::Fault;

use crate::folder::files::Folder;

/// The endings of videos, in small letters.
const VIDEOS: [&str; 25] = [
    "mp4", "m4v", "mov", "mkv", "webm", "avi", "ts", "mts", "m2ts", "mpg", "mpeg", "m2v", "wmv", "asf", "flv", "3gp",
    "3g2", "ogv", "mjpeg", "mjpg", "h264", "264", "h265", "hevc", "vob",
];
/// The endings of pictures, in small letters.
const PICTURES: [&str; 4] = ["jpg", "jpeg", "png", "webp"];

/// Something that is read from its beginning to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A video.
    Video(PathBuf),
    /// The pictures of a directory.
    Sequence(Vec<PathBuf>),
}

/// Whether a file is taken for a picture of a sequence.
pub fn is_picture(path: &Path) -> bool {
    has_ending(path, &PICTURES)
}

impl Unit {
    /// A file by itself.
    pub fn of(path: PathBuf) -> Self {
        match is_picture(&path) {
            true => Unit::Sequence(vec![path]),
            false => Unit::Video(path),
        }
    }

    /// The files of it.
    pub fn files(&self) -> &[PathBuf] {
        match self {
            Unit::Video(path) => std::slice::from_ref(path),
            Unit::Sequence(paths) => paths,
        }
    }
}

/// What is looked for in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sought {
    /// This file.
    One(PathBuf),
    /// What matches.
    Matching(Pattern),
    /// Files with the endings of videos and pictures.
    Usual,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// In their order.
    pub units: Vec<Unit>,
    /// Directories that could not be read, and why.
    pub unreadable: Vec<(PathBuf, String)>,
}

/// Looks through a folder.
///
/// # Errors
/// That it cannot be read.
pub fn list(folder: &Folder, sought: &Sought) -> Result<Found, Fault> {
    let mut listing = match sought {
        Sought::One(path) => return Ok(Found { units: units(vec![path.clone()]), unreadable: vec![] }),
        Sought::Matching(_) | Sought::Usual => folder.list()?,
    };
    listing.files.retain(|path| match sought {
        Sought::Matching(pattern) => matches(pattern, path),
        Sought::One(_) | Sought::Usual => has_ending(path, &VIDEOS) || is_picture(path),
    });
    Ok(Found { units: units(listing.files), unreadable: listing.unreadable })
}

fn units(mut files: Vec<PathBuf>) -> Vec<Unit> {
    files.sort_by(|a, b| by_name(a, b));
    let mut units: Vec<Unit> = vec![];
    for path in files {
        if !is_picture(&path) {
            units.push(Unit::Video(path));
            continue;
        }
        // Where a video stands between them, they are one sequence all the same.
        let beside = |unit: &&mut Unit| matches!(unit, Unit::Sequence(all) if all[0].parent() == path.parent());
        match units.iter_mut().find(beside) {
            Some(Unit::Sequence(all)) => all.push(path),
            Some(Unit::Video(_)) | None => units.push(Unit::Sequence(vec![path])),
        }
    }
    units
}

fn has_ending(path: &Path, endings: &[&str]) -> bool {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
    ending.is_some_and(|ending| endings.contains(&ending.as_str()))
}

/// By the parts of paths, in which numbers count as numbers: `cam2` is before `cam10`.
fn by_name(a: &Path, b: &Path) -> Ordering {
    let parts = |path: &Path| path.iter().map(|part| part.as_bytes().to_vec()).collect::<Vec<_>>();
    let (of_a, of_b) = (parts(a), parts(b));
    let differ = of_a.iter().zip(&of_b).map(|(a, b)| natural(a, b)).find(|order| order.is_ne());
    differ.unwrap_or_else(|| of_a.len().cmp(&of_b.len())).then_with(|| a.cmp(b))
}

fn natural(mut a: &[u8], mut b: &[u8]) -> Ordering {
    while let (Some(first), Some(second)) = (a.first(), b.first()) {
        let order = if first.is_ascii_digit() && second.is_ascii_digit() {
            let (x, rest_a) = number(a);
            let (y, rest_b) = number(b);
            (a, b) = (rest_a, rest_b);
            x.len().cmp(&y.len()).then_with(|| x.cmp(y))
        } else {
            (a, b) = (&a[1..], &b[1..]);
            first.cmp(second)
        };
        if order.is_ne() {
            return order;
        }
    }
    a.len().cmp(&b.len())
}

/// The digits at the beginning without zeros before them, and what stands behind them.
fn number(text: &[u8]) -> (&[u8], &[u8]) {
    let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
    let zeros = text[..digits].iter().take_while(|b| **b == b'0').count();
    (&text[zeros..digits], &text[digits..])
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn files_come_by_name_with_numbers_as_numbers_and_pictures_of_a_directory_are_one_sequence() {
        let dir = tempfile::tempdir().expect("a directory");
        let names = [
            "cam10.mp4",
            "cam2.MP4",
            "cam2.srt",
            "a/f10.jpg",
            "a/f9.jpg",
            "a/f009.png",
            "b.avi",
            "notes.txt",
            ".hidden.mp4",
            "a/x.mkv",
            "cut.mp4.part",
            "cam2/1.ts",
        ];
        for name in names {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().expect("one")).expect("made");
            fs::write(path, "x").expect("written");
        }
        let folder = Folder::open(dir.path(), None).expect("there");
        let found = |sought: &Sought| -> Vec<String> {
            let units = list(&folder, sought).expect("read").units;
            let name = |path: &PathBuf| path.display().to_string();
            units.iter().map(|unit| unit.files().iter().map(name).collect::<Vec<_>>().join("+")).collect()
        };
        assert_eq!(
            found(&Sought::Usual),
            ["a/f9.jpg+a/f009.png+a/f10.jpg", "a/x.mkv", "b.avi", "cam2/1.ts", "cam2.MP4", "cam10.mp4"]
        );
        let matching = |pattern: &str| found(&Sought::Matching(Pattern::new(pattern).expect("sound")));
        assert_eq!(matching("cam*.mp4"), ["cam10.mp4"]);
        assert_eq!(matching("*.txt"), ["notes.txt"], "what is asked for by its name is tried");
        assert_eq!(matching("**/*.mkv"), ["a/x.mkv"]);
        assert_eq!(found(&Sought::One("b.avi".into())), ["b.avi"]);
    }
}
