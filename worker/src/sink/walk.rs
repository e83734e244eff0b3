//! The files below a directory.

use std::{fs, io, path::Path};

use super::{fault::OutputError, output::At, private_dir::FOLDER};

/// Names up to `deep` directories down, one after the other; our own folder is passed over. What goes away meanwhile is not
/// there.
pub fn walk(directory: &Path, deep: usize, take: &mut dyn FnMut(&str)) -> Result<(), OutputError> {
    walk_into(directory, deep, &mut |_| true, take)
}

/// The same, only into directories that `enter` takes by their names.
pub fn walk_into(
    directory: &Path,
    deep: usize,
    enter: &mut dyn FnMut(&str) -> bool,
    take: &mut dyn FnMut(&str),
) -> Result<(), OutputError> {
    below(directory, "", deep, enter, take)
}

fn below(
    directory: &Path,
    name: &str,
    deep: usize,
    enter: &mut dyn FnMut(&str) -> bool,
    take: &mut dyn FnMut(&str),
) -> Result<(), OutputError> {
    for entry in fs::read_dir(directory).at("read", directory)? {
        let entry = entry.at("read", directory)?;
        if entry.file_name() == FOLDER {
            continue;
        }
        let own = entry.file_name().to_string_lossy().into_owned();
        let name = if name.is_empty() { own } else { format!("{name}/{own}") };
        match entry.file_type() {
            Ok(kind) if !kind.is_dir() => take(&name),
            Ok(_) if deep > 0 && enter(&name) => match below(&entry.path(), &name, deep - 1, enter, take) {
                Err(_) if !entry.path().exists() => {}
                walked => walked?,
            },
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e).at("read", &entry.path()),
        }
    }
    Ok(())
}
