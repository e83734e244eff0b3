//! Paths that resources give: directories, host paths and file names stay where they belong.

use crate::{
    api::template::{Piece, Template},
    problem::{listed, shown},
};

/// What is wrong, and what to do.
type Refusal = (String, String);

fn refuse<T>(message: impl Into<String>, remedy: &str) -> Result<T, Refusal> {
    Err((message.into(), remedy.to_owned()))
}

/// Most file systems take names of 255 bytes; the fields, `.part` and the like need room too.
const MAX_NAME: usize = 200;

/// A sink's own folder beside its output.
const OWN_FOLDER: &str = ".edgereel";

fn plain(path: &str) -> Result<(), Refusal> {
    if path.chars().any(char::is_control) {
        return refuse(format!("`{}` holds a control character", shown(path)), "take it out");
    }
    if path.split('/').any(|part| part == "..") {
        return refuse(
            format!("`{}` leads out of its directory with `..`", shown(path)),
            "write the path without `..`",
        );
    }
    if path.split('/').any(|part| part.len() > MAX_NAME) {
        return refuse(format!("a name in it is longer than {MAX_NAME} bytes"), "make it shorter");
    }
    Ok(())
}

/// What is written beside a sink's own folder stays out of it.
fn not_in_own_folder(path: &str) -> Result<(), Refusal> {
    if path.split('/').any(|part| part == OWN_FOLDER) {
        let message = format!("`{}` is in `{OWN_FOLDER}`, where sinks keep what they have to remember", shown(path));
        return refuse(message, "use another name");
    }
    Ok(())
}

/// A directory below the storage's root.
pub(super) fn directory(path: &str) -> Result<(), Refusal> {
    if path.starts_with('/') {
        let message = format!("`{}` is absolute, and directories are below the storage's root", shown(path));
        return refuse(message, "leave the `/` at the beginning out; the root is `storage.hostPath.path`");
    }
    plain(path)?;
    not_in_own_folder(path)
}

/// A directory of the machine.
pub(super) fn host_path(path: &str) -> Result<(), Refusal> {
    if !path.starts_with('/') {
        return refuse(format!("`{}` is not an absolute path", shown(path)), "begin it with `/`");
    }
    plain(path)
}

/// The endings of pictures.
const PICTURES: [&str; 4] = [".jpg", ".jpeg", ".png", ".webp"];

/// A file name template with one of the endings; without any, of a picture that gets its ending by what it is.
pub(super) fn file_name(name: &str, endings: &[&str]) -> Result<Template, Refusal> {
    if name.is_empty() {
        return refuse("it is empty", "give a name, or take it out for the default");
    }
    let template = match Template::parse(name) {
        Ok(template) => template,
        Err(error) => {
            let (message, remedy) = error.split_once("; ").unwrap_or((&error, ""));
            return refuse(message, remedy);
        }
    };
    if name.starts_with('/') {
        let message = format!("`{}` is absolute, and files are below the output's directory", shown(name));
        return refuse(message, "leave the `/` at the beginning out");
    }
    plain(name)?;
    not_in_own_folder(name)?;
    // A component that is `.`, or empty, would make one file of several names.
    if name.split('/').any(|part| part.is_empty() || part == ".") {
        return refuse(format!("`{}` has an empty part", shown(name)), "write one `/` between names");
    }
    let lower = name.to_lowercase();
    if endings.is_empty() {
        return match PICTURES.iter().find(|ending| lower.ends_with(*ending)) {
            Some(ending) => {
                refuse(format!("`{ending}` would stand twice: each picture gets its own ending"), "take it out")
            }
            None => Ok(template),
        };
    }
    let ending = endings.iter().find(|ending| lower.ends_with(*ending));
    match ending.zip(template.pieces().last()) {
        Some((ending, Piece::Text(last)))
            if last.to_lowercase().ends_with(ending) && !only_ending(&template, ending) =>
        {
            Ok(template)
        }
        Some((ending, _)) => refuse(format!("nothing stands before `{ending}`"), "give a name"),
        None => refuse(format!("`{}` does not end in {}", shown(name), listed(endings)), "add the ending"),
    }
}

/// Whether the name is nothing but its ending: a hidden file without a name.
fn only_ending(template: &Template, ending: &str) -> bool {
    match template.pieces() {
        [Piece::Text(text)] => text.rsplit('/').next().is_some_and(|last| last.len() == ending.len()),
        [.., Piece::Field { .. }, Piece::Text(text)] => {
            text.rsplit_once('/').is_some_and(|(_, l)| l.len() == ending.len())
        }
        _ => false,
    }
}
