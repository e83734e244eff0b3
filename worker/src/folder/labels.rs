//! What a picture shows: from its name, the directory above it, a text beside it or a CSV.

use std::{
    collections::HashMap,
    io::Read,
    path::{Path, PathBuf},
};

use edgereel_crds::directory::{AnnotationFrom, DirectorySource};
use edgereel_runtime::plain::plain;

use super::files::{Folder, NotNow, stamp};

/// No sidecar is longer, in bytes: records have room for 4 KiB of headers.
const LONGEST: u64 = 2048;
/// Headings of a CSV's columns, in small letters.
const FILES: [&str; 6] = ["image_path", "file", "image_name", "filename", "path", "image"];
const ANNOTATIONS: [&str; 2] = ["annotation", "label"];

/// Where annotations come from.
pub struct Labels {
    from: AnnotationFrom,
    csv: PathBuf,
    /// The CSV as it was read last.
    rows: Option<(u64, Rows)>,
}

/// Nothing says what a picture shows: why, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoLabel(pub String);

impl Labels {
    /// As the source says.
    pub fn new(spec: &DirectorySource) -> Self {
        Labels {
            from: spec.annotation,
            csv: PathBuf::from(spec.annotation_file.as_deref().unwrap_or_default()),
            rows: None,
        }
    }

    /// Whether a file is not a picture but says what pictures show.
    pub fn is_label(&self, relative: &Path) -> bool {
        match self.from {
            AnnotationFrom::Csv => relative == self.csv,
            AnnotationFrom::Sidecar => relative.extension().is_some_and(|ending| ending == "txt"),
            AnnotationFrom::FileName | AnnotationFrom::ParentFolder | AnnotationFrom::None => false,
        }
    }

    /// A picture's sidecar, where it has one.
    pub fn sidecar(&self, relative: &Path) -> Option<PathBuf> {
        (self.from == AnnotationFrom::Sidecar).then(|| relative.with_extension("txt"))
    }

    /// What a picture shows; none where nothing is to say so.
    pub fn of(&mut self, folder: &Folder, relative: &Path) -> Result<Option<String>, NoLabel> {
        let text = |name: &std::ffi::OsStr| name.to_string_lossy().into_owned();
        Ok(match self.from {
            AnnotationFrom::None => None,
            AnnotationFrom::FileName => relative.file_stem().map(text),
            AnnotationFrom::ParentFolder => {
                let above = folder.path().join(relative).parent().and_then(Path::file_name).map(text);
                Some(above.unwrap_or_default())
            }
            AnnotationFrom::Sidecar => Some(sidecar(folder, &relative.with_extension("txt"))?),
            AnnotationFrom::Csv => Some(self.row(folder, relative)?),
        })
    }

    fn row(&mut self, folder: &Folder, relative: &Path) -> Result<String, NoLabel> {
        let named = self.csv.display().to_string();
        let Some(meta) = folder.look(&self.csv) else { return Err(NoLabel(format!("{named} is not there"))) };
        if self.rows.as_ref().is_none_or(|(read, _)| *read != stamp(&meta)) {
            let file = folder.open_file(&self.csv).map_err(|why| NoLabel(format!("{named}: {}", in_words(&why))))?;
            let rows = Rows::read(file).map_err(|why| NoLabel(format!("{named}: {why}")))?;
            self.rows = Some((stamp(&meta), rows));
        }
        let rows = self.rows.as_ref().map(|(_, rows)| rows);
        rows.and_then(|rows| rows.of(relative)).ok_or_else(|| NoLabel(format!("{named} has no row of it")))
    }
}

fn in_words(why: &NotNow) -> String {
    match why {
        NotNow::Bad(_, words) => words.clone(),
        NotNow::Changing | NotNow::Gone => "it is not there".into(),
    }
}

fn sidecar(folder: &Folder, path: &Path) -> Result<String, NoLabel> {
    let named = path.display();
    let file = folder.open_file(path).map_err(|why| match why {
        NotNow::Gone => NoLabel(format!("{named} is not there")),
        why => NoLabel(format!("{named}: {}", in_words(&why))),
    })?;
    let mut bytes = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(|e| NoLabel(format!("{named}: {}", plain(e))))?;
    if bytes.len() as u64 > LONGEST {
        return Err(NoLabel(format!("{named} is longer than {LONGEST} bytes")));
    }
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.trim_start_matches('\u{feff}').trim_end_matches(['\r', '\n']).to_owned())
}

/// A CSV's rows, by path and by bare name.
#[derive(Debug, Default)]
struct Rows {
    paths: HashMap<String, String>,
    /// None where two rows have the name.
    names: HashMap<String, Option<String>>,
}

impl Rows {
    fn read(file: impl Read) -> Result<Self, String> {
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(file);
        let headings: Vec<String> = reader
            .byte_headers()
            .map_err(plain)?
            .iter()
            .map(|cell| String::from_utf8_lossy(cell).trim_start_matches('\u{feff}').trim().to_lowercase())
            .collect();
        let column = |names: &[&str]| names.iter().find_map(|name| headings.iter().position(|heading| heading == name));
        let (Some(file), Some(annotation)) = (column(&FILES), column(&ANNOTATIONS)) else {
            return Err("its first line has no columns `image_path` and `annotation`".into());
        };
        let mut rows = Rows::default();
        for record in reader.byte_records() {
            let record = record.map_err(plain)?;
            let cell = |n: usize| record.get(n).map(|cell| String::from_utf8_lossy(cell).into_owned());
            let (Some(path), Some(annotation)) = (cell(file), cell(annotation)) else { continue };
            let path = path.trim().replace('\\', "/");
            let path = path.strip_prefix("./").unwrap_or(&path).to_owned();
            let name = path.rsplit('/').next().unwrap_or_default().to_owned();
            let same = |known: &Option<String>| known.as_ref() == Some(&annotation);
            let ambiguous = rows.names.get(&name).is_some_and(|known| !same(known));
            rows.names.insert(name, (!ambiguous).then(|| annotation.clone()));
            rows.paths.insert(path, annotation);
        }
        Ok(rows)
    }

    fn of(&self, relative: &Path) -> Option<String> {
        let path = relative.to_string_lossy();
        let name = relative.file_name()?.to_string_lossy();
        self.paths.get(&*path).cloned().or_else(|| self.names.get(&*name).cloned().flatten())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn labels(spec: serde_json::Value) -> Labels {
        Labels::new(&serde_json::from_value(spec).expect("a source"))
    }

    #[test]
    fn names_and_directories_say_what_a_picture_shows() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().join("cats");
        fs::create_dir(&root).expect("made");
        let folder = Folder::open(&root, None).expect("there");
        let of = |from: &str, path: &str| {
            labels(serde_json::json!({"annotation": from})).of(&folder, Path::new(path)).expect("said")
        };
        assert_eq!(of("fileName", "a/2024-09-10.png").as_deref(), Some("2024-09-10"));
        assert_eq!(of("fileName", "x.tar.jpg").as_deref(), Some("x.tar"));
        assert_eq!(of("parentFolder", "a/b/1.png").as_deref(), Some("b"));
        assert_eq!(of("parentFolder", "1.png").as_deref(), Some("cats"), "the folder itself");
        assert_eq!(of("none", "1.png"), None);
    }

    #[test]
    fn a_sidecar_is_waited_for_and_taken_as_it_is_but_for_its_last_line_feed() {
        let dir = tempfile::tempdir().expect("a directory");
        let folder = Folder::open(dir.path(), None).expect("there");
        let mut labels = labels(serde_json::json!({"annotation": "sidecar"}));
        let missing = labels.of(&folder, Path::new("a.png")).expect_err("missing");
        assert_eq!(missing.0, "a.txt is not there");
        for (text, annotation) in [("cat\r\n", "cat"), ("a, \"b\"\nc", "a, \"b\"\nc"), ("\u{feff}ü ", "ü "), ("", "")]
        {
            fs::write(dir.path().join("a.txt"), text).expect("written");
            assert_eq!(labels.of(&folder, Path::new("a.png")).expect("said").as_deref(), Some(annotation));
        }
        fs::write(dir.path().join("a.txt"), "x".repeat(3000)).expect("written");
        assert!(labels.of(&folder, Path::new("a.png")).is_err());
        assert!(labels.is_label(Path::new("a.txt")) && !labels.is_label(Path::new("a.png")));
    }

    #[test]
    fn a_csv_is_read_by_its_headings_and_read_again_when_it_changes() {
        let dir = tempfile::tempdir().expect("a directory");
        let folder = Folder::open(dir.path(), None).expect("there");
        let mut labels = labels(serde_json::json!({"annotation": "csv", "annotationFile": "labels.csv"}));
        let mut of = |path: &str| labels.of(&folder, Path::new(path));
        assert!(of("a.png").expect_err("no CSV").0.contains("labels.csv is not there"));
        let csv = dir.path().join("labels.csv");
        fs::write(&csv, "path,what\na,b\n").expect("written");
        assert!(of("a.png").expect_err("no headings").0.contains("no columns"));
        let text =
            "\u{feff}n,image_path,Annotation\n1,./a/x.png,\"one, \"\"two\"\"\nthree\"\n2,b/x.png,other\n3,y.png,why\n";
        fs::write(&csv, text).expect("written");
        assert_eq!(of("a/x.png").expect("said").as_deref(), Some("one, \"two\"\nthree"));
        assert_eq!(of("c/y.png").expect("said").as_deref(), Some("why"), "by its bare name");
        assert!(of("c/x.png").expect_err("two have the name").0.contains("no row"));
        fs::write(&csv, format!("{text}4,c/x.png,third\n")).expect("written");
        assert_eq!(of("c/x.png").expect("said").as_deref(), Some("third"));
    }
}
