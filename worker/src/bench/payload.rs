//! What is sent: pictures of a folder, or made ones, as the Python scripts' JSON or as they are. Made before anything is measured.

use std::{fs, io, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use clap::ValueEnum;
use edgereel_frame::picture;
use edgereel_runtime::plain::plain;
use jiff::Timestamp;
use serde::Serialize;

use crate::synthetic::Pattern;

/// Of a larger folder, the first pictures: they are held in memory, so that no disk is measured.
const LARGEST_FOLDER: u64 = 256 << 20;
/// Made pictures; they differ, as a camera's do.
const MADE: u64 = 32;

/// How a picture becomes a record's value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// The scripts' `{"image_name": …, "image": BASE64, "annotation": …}`.
    #[default]
    Json,
    /// The picture's bytes.
    Image,
}

/// The values of the records; they come again and again.
#[derive(Debug)]
pub struct Payload(Vec<Bytes>);

#[derive(Serialize)]
struct Labelled<'a> {
    image_name: &'a str,
    image: String,
    annotation: &'a str,
}

impl Payload {
    /// The pictures of a folder, by name; other files are passed over.
    ///
    /// # Errors
    /// A folder that cannot be read, or holds no picture.
    pub fn of_folder(folder: &Path, form: Form) -> Result<Payload, String> {
        let told = |e: io::Error| format!("cannot read {}: {}", folder.display(), plain(e));
        let entries: io::Result<Vec<_>> = fs::read_dir(folder).map_err(told)?.collect();
        let mut paths: Vec<_> = entries.map_err(told)?.iter().map(fs::DirEntry::path).collect();
        paths.sort();
        let (mut values, mut total) = (vec![], 0);
        for path in paths.iter().filter(|path| path.is_file()) {
            let size = fs::metadata(path).map_err(told)?.len();
            if total + size > LARGEST_FOLDER {
                break;
            }
            let bytes = fs::read(path).map_err(|e| format!("cannot read {}: {}", path.display(), plain(e)))?;
            if picture::inspect(&bytes).is_ok() {
                total += size;
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                values.push(value(&name, bytes.into(), form));
            }
        }
        match values.is_empty() {
            true => Err(format!(
                "no picture in {}: give a folder of JPEG, PNG or WebP files (together up to 256 MiB)",
                folder.display()
            )),
            false => Ok(Payload(values)),
        }
    }

    /// Made pictures of a size in pixels, of about so many bytes.
    ///
    /// # Errors
    /// Where such a picture cannot be made.
    pub fn made((width, height): (u16, u16), bytes: usize, form: Form) -> Result<Payload, String> {
        let pattern = Pattern::new(width, height, bytes)?;
        let one = |n: u64| value(&format!("{n:06}.jpg"), pattern.frame(n, Timestamp::now(), "bench"), form);
        Ok(Payload((0..MADE).map(one).collect()))
    }

    /// The value of the record with this number.
    pub fn value(&self, record: u64) -> &Bytes {
        &self.0[(record % self.0.len() as u64) as usize]
    }

    /// The largest value's bytes.
    pub fn largest(&self) -> u64 {
        self.0.iter().map(|value| value.len() as u64).max().unwrap_or(0)
    }
}

fn value(name: &str, picture: Bytes, form: Form) -> Bytes {
    match form {
        Form::Image => picture,
        Form::Json => {
            let annotation = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
            let labelled = Labelled { image_name: name, image: STANDARD.encode(&picture), annotation };
            // Texts only: it cannot fail.
            serde_json::to_vec(&labelled).unwrap_or_default().into()
        }
    }
}

#[cfg(test)]
mod tests {
    use edgereel_frame::samples;

    use super::*;

    #[test]
    fn a_folders_pictures_are_sent_by_name_as_the_scripts_json_or_as_they_are() {
        let folder = tempfile::tempdir().expect("a folder");
        let (first, second) = (samples::webp("1"), samples::webp("2"));
        fs::write(folder.path().join("b 2.webp"), &second).expect("written");
        fs::write(folder.path().join("2024-09-10.webp"), &first).expect("written");
        fs::write(folder.path().join("Thumbs.db"), b"no picture").expect("written");
        fs::create_dir(folder.path().join("c.webp")).expect("made");
        let images = Payload::of_folder(folder.path(), Form::Image).expect("two");
        let all: Vec<&[u8]> = (0..4).map(|n| images.value(n).as_ref()).collect();
        assert_eq!(all, [&first, &second, &first, &second]);
        assert_eq!(images.largest(), first.len() as u64);
        let json = Payload::of_folder(folder.path(), Form::Json).expect("two");
        let value: serde_json::Value = serde_json::from_slice(json.value(0)).expect("JSON");
        assert_eq!((&value["image_name"], &value["annotation"]), (&"2024-09-10.webp".into(), &"2024-09-10".into()));
        assert_eq!(STANDARD.decode(value["image"].as_str().expect("a text")).expect("base64"), first);
    }

    #[test]
    fn a_folder_without_pictures_is_refused_with_its_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let none = Payload::of_folder(folder.path(), Form::Json).expect_err("empty");
        assert!(none.contains(&folder.path().display().to_string()), "{none}");
        let missing = Payload::of_folder(&folder.path().join("no"), Form::Json).expect_err("missing");
        assert!(missing.ends_with("No such file or directory"), "{missing}");
    }

    #[test]
    fn made_pictures_have_about_the_size_that_is_asked_for() {
        let made = Payload::made((320, 240), 20_000, Form::Image).expect("made");
        assert!((16_000..24_000).contains(&made.largest()), "{}", made.largest());
        assert_ne!(made.value(0), made.value(1));
    }
}
