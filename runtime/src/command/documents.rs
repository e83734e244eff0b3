//! Files and directories with resources: their texts, the plan that they make, and what is wrong with them.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use console::{Style, Term};
use edgereel_crds::{document::yaml::MAX_BYTES, problem::Problem};

use crate::plain::plain;

/// How deep directories are searched: deeper than anyone nests them, and an end to links that go round.
const MAX_DEPTH: usize = 16;

/// The texts of files, each with its name.
pub type Documents = Vec<(String, String)>;

/// The texts of all files that the paths lead to, each with its name: files, directories (their `*.yaml`, `*.yml` and
/// `*.json` files, and those of the directories inside) and `-` for standard input. In the order given, directories
/// sorted by name; a file that several paths lead to comes once.
///
/// # Errors
/// Every path that cannot be read, with what to do.
pub fn read_documents(paths: &[PathBuf]) -> Result<Documents, Vec<Problem>> {
    let mut found = Found::default();
    for path in paths {
        if path.as_os_str() == "-" {
            found.read("<stdin>", io::stdin().lock());
        } else {
            found.path(path, 0);
        }
    }
    if found.problems.is_empty() { Ok(found.documents) } else { Err(found.problems) }
}

#[derive(Default)]
struct Found {
    documents: Documents,
    seen: Vec<PathBuf>,
    problems: Vec<Problem>,
}

impl Found {
    fn problem(&mut self, name: &str, message: impl Into<String>, remedy: &str) {
        self.problems.push(Problem {
            file: name.to_owned(),
            line: 1,
            column: 1,
            resource: String::new(),
            field: String::new(),
            message: message.into(),
            remedy: remedy.to_owned(),
        });
    }

    fn path(&mut self, path: &Path, depth: usize) {
        let name = path.display().to_string();
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) => return self.unreadable(&name, &error),
        };
        if metadata.is_dir() {
            return self.directory(path, depth);
        }
        // The same file by `-f a.yaml -f .` would make every resource a duplicate.
        let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if self.seen.contains(&real) {
            return;
        }
        self.seen.push(real);
        match fs::File::open(path) {
            Ok(file) => self.read(&name, file),
            Err(error) => self.unreadable(&name, &error),
        }
    }

    fn directory(&mut self, path: &Path, depth: usize) {
        let name = path.display().to_string();
        if depth > MAX_DEPTH {
            return self.problem(&name, format!("directories lie more than {MAX_DEPTH} deep in each other"), "");
        }
        let entries = fs::read_dir(path)
            .and_then(|entries| entries.map(|entry| entry.map(|e| e.path())).collect::<io::Result<Vec<PathBuf>>>());
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) => return self.unreadable(&name, &error),
        };
        entries.sort();
        let before = self.documents.len() + self.seen.len();
        for entry in entries {
            // A mounted ConfigMap keeps its versions in hidden directories, and links to the current one.
            let hidden = entry.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
            let wanted = entry.extension().is_some_and(|e| ["yaml", "yml", "json"].iter().any(|w| e == *w));
            if !hidden && (wanted || entry.is_dir()) {
                self.path(&entry, depth + 1);
            }
        }
        if depth == 0 && self.documents.len() + self.seen.len() == before && self.problems.is_empty() {
            self.problem(&name, "there is no *.yaml, *.yml or *.json file in it", "name another directory");
        }
    }

    fn read(&mut self, name: &str, file: impl io::Read) {
        // One byte more than is taken, so that the loader sees that it is too much.
        let mut bytes = Vec::new();
        if let Err(error) = file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes) {
            return self.unreadable(name, &error);
        }
        // What is too long may end in the middle of a character; the loader refuses it for its length.
        if bytes.len() > MAX_BYTES {
            return self.documents.push((name.to_owned(), String::from_utf8_lossy(&bytes).into_owned()));
        }
        match String::from_utf8(bytes) {
            Ok(text) => self.documents.push((name.to_owned(), text)),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                self.problem(name, format!("byte {at} is not UTF-8 text"), "save it as UTF-8");
            }
        }
    }

    fn unreadable(&mut self, name: &str, error: &io::Error) {
        match error.kind() {
            io::ErrorKind::NotFound => self.problem(name, "there is no such file or directory", "check the path"),
            io::ErrorKind::PermissionDenied => {
                self.problem(name, "it may not be read by this user", "change its permissions, or the user");
            }
            _ => self.problem(name, format!("it cannot be read: {}", plain(error)), "check the disk"),
        }
    }
}

/// Prints problems as compilers do, on standard error, with colour on a terminal.
pub fn print_problems(problems: &[Problem]) {
    let term = Term::stderr();
    let style = |style: Style| style.for_stderr();
    let (place, what, how) = (style(Style::new().bold()), style(Style::new().red()), style(Style::new().cyan()));
    for p in problems {
        let mut line = format!("{} ", place.apply_to(format!("{}:{}:{}:", p.file, p.line, p.column)));
        for part in [&p.resource, &p.field].into_iter().filter(|part| !part.is_empty()) {
            line += &format!("{part}: ");
        }
        line += &what.apply_to(&p.message).to_string();
        if !p.remedy.is_empty() {
            line += &format!("; {}", how.apply_to(&p.remedy));
        }
        // A closed pipe is no reason to panic.
        let _ = writeln!(&term, "{line}");
    }
    let files = problems.iter().map(|p| &p.file).collect::<std::collections::BTreeSet<_>>().len();
    let summary = format!("{} in {}", count(problems.len(), "problem"), count(files, "file"));
    let _ = writeln!(&term, "{}", what.apply_to(summary));
}

/// `1 file`, `2 files`.
pub fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(paths: &[PathBuf]) -> Vec<String> {
        read_documents(paths).err().unwrap_or_default().iter().map(|p| format!("{}; {}", p.message, p.remedy)).collect()
    }

    #[test]
    fn directories_give_their_resource_files_once_and_in_order() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path();
        fs::create_dir_all(root.join("sub")).expect("a directory");
        fs::create_dir_all(root.join("..data")).expect("a directory");
        for file in ["b.yaml", "a.yml", "sub/c.json", "notes.md", "..data/b.yaml"] {
            fs::write(root.join(file), file).expect("a file");
        }
        let read = read_documents(&[root.into(), root.join("b.yaml")]).expect("readable");
        let texts: Vec<&str> = read.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["a.yml", "b.yaml", "sub/c.json"]);
        assert_eq!(read[1].0, root.join("b.yaml").display().to_string());
    }

    #[test]
    fn every_path_that_cannot_be_read_is_named_with_what_to_do() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("empty")).expect("a directory");
        fs::write(dir.path().join("latin1.yaml"), b"name: caf\xe9").expect("a file");
        let paths = ["missing.yaml", "empty", "latin1.yaml"].map(|name| dir.path().join(name));
        assert_eq!(problems(&paths[..1]), ["there is no such file or directory; check the path"]);
        assert_eq!(problems(&paths[1..2]), ["there is no *.yaml, *.yml or *.json file in it; name another directory"]);
        assert_eq!(problems(&paths[2..]), ["byte 9 is not UTF-8 text; save it as UTF-8"]);
        assert_eq!(problems(&paths).len(), 2, "an empty directory is not worth a word beside a missing file");
    }
}
