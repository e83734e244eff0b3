//! `edgereel validate`: every problem of the files at once, or what each resource will do.

use std::{
    fs,
    io::{self, Read as _, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use console::{Style, Term};
use edgereel_crds::{
    camera_stream::Source,
    document::yaml::MAX_BYTES,
    frame_sink::Output,
    load,
    name::Kind,
    plan::{CameraPlan, Plan, SinkPlan},
    problem::Problem,
    redact,
    storage::Storage,
};
use edgereel_runtime::plain::plain;

/// How deep directories are searched: deeper than anyone nests them, and an end to links that go round.
const MAX_DEPTH: usize = 16;

/// Check resources without running them: every problem at once, with its file, line, column and remedy.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  edgereel validate -f camera.yaml
          one file
  edgereel validate -f examples/lab
          all *.yaml, *.yml and *.json files of a directory
  kubectl get cam,fsink,kc -o yaml | edgereel validate -f -
          what a cluster has

Exit status: 0 when all is well, 1 when there are problems, 2 when the arguments
are wrong.")]
pub struct Args {
    /// Files and directories with resources; `-` is standard input.
    #[arg(short = 'f', long = "filename", value_name = "FILE|DIR", required = true, num_args = 1..)]
    pub files: Vec<PathBuf>,
}

/// Checks the files and prints what was found. The exit status is 1 when there are problems.
pub fn run(args: Args) -> ExitCode {
    match load_plan(&args.files) {
        Ok((plan, files)) => print_plan(&plan, files),
        Err(problems) => {
            print_problems(&problems);
            ExitCode::FAILURE
        }
    }
}

/// The plan that the files make and how many files they are.
///
/// # Errors
/// Every problem of the files.
pub fn load_plan(files: &[PathBuf]) -> Result<(Plan, usize), Vec<Problem>> {
    let documents = read_documents(files)?;
    Ok((load(&documents)?, documents.len()))
}

/// The texts of all files that the paths lead to, each with its name: files, directories (their `*.yaml`, `*.yml` and
/// `*.json` files, and those of the directories inside) and `-` for standard input. In the order given, directories
/// sorted by name; a file that several paths lead to comes once.
///
/// # Errors
/// Every path that cannot be read, with what to do.
pub fn read_documents(paths: &[PathBuf]) -> Result<Vec<(String, String)>, Vec<Problem>> {
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
    documents: Vec<(String, String)>,
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

fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

fn print_plan(plan: &Plan, files: usize) -> ExitCode {
    let mut out = io::stdout().lock();
    let lines = describe(plan);
    for line in &lines {
        let _ = writeln!(out, "{line}");
    }
    if lines.is_empty() {
        // Most often the wrong directory: it should not look like success.
        let _ = writeln!(io::stderr(), "no camera and no sink in {}; nothing would run", count(files, "file"));
        return ExitCode::FAILURE;
    }
    let (cameras, sinks) = (count(plan.cameras.len(), "camera"), count(plan.sinks.len(), "sink"));
    let _ = writeln!(out, "{}: {cameras}, {sinks}, no problems", count(files, "file"));
    ExitCode::SUCCESS
}

/// One line a resource: what it will do.
fn describe(plan: &Plan) -> Vec<String> {
    plan.cameras.iter().map(camera).chain(plan.sinks.iter().map(sink)).collect()
}

fn camera(plan: &CameraPlan) -> String {
    let source = match &plan.spec.source {
        Source::Mjpeg(mjpeg) => redacted(&mjpeg.url),
        Source::Snapshot(snapshot) => format!("{} every {}", redacted(&snapshot.url), snapshot.interval),
        Source::Synthetic(synthetic) => format!("synthetic {}", synthetic.size),
    };
    let rate = plan.spec.frame_rate.target.map_or(String::new(), |fps| format!(" at {fps} fps"));
    let suspended = if plan.spec.suspend { " (suspended)" } else { "" };
    let (topic, kafka) = (&plan.spec.topic.name, &plan.connection.name.name);
    format!("{}: {source}{rate} -> topic {topic} on {kafka}{suspended}", Kind::CameraStream.label(&plan.name))
}

fn sink(plan: &SinkPlan) -> String {
    let root = match &plan.spec.storage {
        Storage::HostPath(host) => host.path.trim_end_matches('/').to_owned(),
        Storage::PersistentVolumeClaim(claim) => format!("claim {}:", claim.claim_name),
        Storage::VolumeClaimTemplate(_) => "a claim for each worker:".to_owned(),
    };
    let (what, directory, name) = match &plan.spec.output {
        Output::JpegFiles(files) => ("JPEG files", &files.directory, files.file_name.as_str()),
        Output::Video(video) => ("video", &video.directory, video.file_name.as_deref().unwrap_or_default()),
    };
    let parts: Vec<&str> =
        [root.as_str(), directory.as_str(), name].into_iter().filter(|part| !part.is_empty()).collect();
    let suspended = if plan.spec.suspend { " (suspended)" } else { "" };
    let homeless = if plan.spec.stays_with_its_data() { "" } else { " (in Kubernetes it needs `placement`)" };
    let (label, topics) = (Kind::FrameSink.label(&plan.name), plan.topics.join(", "));
    let (group, kafka) = (&plan.group, &plan.connection.name.name);
    format!("{label}: topic {topics} on {kafka}, group {group} -> {what} {}{suspended}{homeless}", parts.join("/"))
}

/// The URL as it may be shown; nothing of it where it is no URL.
fn redacted(url: &str) -> String {
    url::Url::parse(url).map_or_else(|_| "a URL".into(), |parsed| redact::url(&parsed))
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

    #[test]
    fn good_files_say_what_each_resource_will_do() {
        let text = "
apiVersion: edgereel.dev/v1alpha1
kind: KafkaConnection
metadata: {name: lab}
spec: {bootstrapServers: [\"localhost:9092\"]}
---
apiVersion: edgereel.dev/v1alpha1
kind: CameraStream
metadata: {name: gate}
spec:
  source: {mjpeg: {url: \"http://ann:secret@gate/video?fps=5;pwd=secret\"}}
  frameRate: {target: 10}
  topic: {name: Gate}
  kafka: {connectionRef: {name: lab}}
---
apiVersion: edgereel.dev/v1alpha1
kind: FrameSink
metadata: {name: gate-video, namespace: default}
spec:
  from: {streamRef: {name: gate}}
  output: {video: {directory: archive}}
  storage: {hostPath: {path: /data}}
  placement: {nodes: [edge-1]}
  suspend: true
";
        let plan = load(&[("lab.yaml".into(), text.into())]).expect("sound");
        let homeless = load(&[("lab.yaml".into(), text.replace("placement: {nodes: [edge-1]}", "replicas: 1"))]);
        let described = describe(&homeless.expect("sound on one machine"));
        assert!(described[1].ends_with(".avi (suspended) (in Kubernetes it needs `placement`)"), "{described:?}");
        assert_eq!(
            describe(&plan),
            [
                "CameraStream/gate: http://gate/video?fps=5;pwd=*** at 10 fps -> topic Gate on lab",
                "FrameSink/gate-video: topic Gate on lab, group edgereel.default.gate-video -> video \
                 /data/archive/{topic}.avi (suspended)",
            ]
        );
    }
}
