//! The files below a directory.

use std::{fs, io, path::Path};

use super::{fault::OutputError, output::At, private_dir::FOLDER};

/// Names up to `deep` directories down, one after the other; our own folder is passed over. What goes away meanwhile is not
/// there.
pub fn walk(directory: &Path, deep: usize, take: &mut dyn FnMut(&str)) -> Result<(), OutputError> {
    below(directory, "", deep, take)
}

fn below(directory: &Path, name: &str, deep: usize, take: &mut dyn FnMut(&str)) -> Result<(), OutputError> {
    for entry in fs::read_dir(directory).at("read", directory)? {
        let entry = entry.at("read", directory)?;
        if entry.file_name() == FOLDER {
            continue;
        }
        let own = entry.file_name().to_string_lossy().into_owned();
        let name = if name.is_empty() { own } else { format!("{name}/{own}") };
        match entry.file_type() {
            Ok(kind) if !kind.is_dir() => take(&name),
            Ok(_) if deep > 0 => match below(&entry.path(), &name, deep - 1, take) {
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
