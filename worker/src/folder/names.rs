//! Names that are no pictures of a folder, whatever stands in the files: what systems, editors and copying programs leave.

use std::path::Path;

/// What file managers and systems leave, in small letters.
const OF_SYSTEMS: [&str; 8] = [
    "thumbs.db",
    "ehthumbs.db",
    "ehthumbs_vista.db",
    "desktop.ini",
    "iconcache.db",
    "albumartsmall.jpg",
    "icon\r",
    "synofile_thumb",
];
/// Directories of systems, in small letters.
const DIRECTORIES: [&str; 6] =
    ["@eadir", "__macosx", "$recycle.bin", "system volume information", "lost+found", "#recycle"];
/// The endings of what is not finished yet, or a copy that an editor made, in small letters.
const UNFINISHED: [&str; 13] = [
    ".part",
    ".partial",
    ".filepart",
    ".crdownload",
    ".download",
    ".opdownload",
    ".!ut",
    ".tmp",
    ".temp",
    ".swp",
    ".swx",
    ".bak",
    "~",
];

/// Whether a file (or a directory) of this name is passed over in silence. Hidden ones are: `.DS_Store`, `._x.jpg`, and what
/// rsync is just writing.
pub fn is_junk(name: &std::ffi::OsStr, is_directory: bool) -> bool {
    let name = name.to_string_lossy().to_lowercase();
    let among = |names: &[&str]| names.contains(&name.as_str());
    name.starts_with('.')
        || if is_directory {
            among(&DIRECTORIES)
        } else {
            among(&OF_SYSTEMS)
                || UNFINISHED.iter().any(|ending| name.ends_with(ending))
                || name.starts_with('#') && name.ends_with('#')
                || name.starts_with("~$")
        }
}

/// Whether something on the way to a path, or the file itself, is.
pub fn leads_through_junk(path: &Path) -> bool {
    let directories = path.parent().into_iter().flat_map(Path::iter);
    directories.into_iter().any(|name| is_junk(name, true)) || path.file_name().is_none_or(|name| is_junk(name, false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systems_leave_is_junk_and_pictures_are_not() {
        for junk in [
            ".DS_Store",
            "._x.jpg",
            "Thumbs.db",
            "THUMBS.DB",
            "a.jpg.part",
            "a.jpg~",
            "a.JPG.CRDOWNLOAD",
            "desktop.ini",
            ".a.jpg.Xy12Zz",
            "a/.hidden/b.jpg",
            "@eaDir/a.jpg",
            "__MACOSX/a.jpg",
            "#a.jpg#",
            "~$a.png",
            "a/b.tmp",
        ] {
            assert!(leads_through_junk(Path::new(junk)), "{junk}");
        }
        for picture in
            ["a.jpg", "a", "part", "2024.part.jpg", "a~b.png", "lost+found.png", "thumbs.db/a.png", "ü #1.webp"]
        {
            assert!(!leads_through_junk(Path::new(picture)), "{picture}");
        }
    }
}
