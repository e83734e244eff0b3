//! Writes the files that are made from the types: the CRDs, the editors' schema and the reference manual.
//!
//! `crdgen [--check] [ROOT]`: ROOT is the repository (default: the current directory); with `--check` nothing is written,
//! and the exit status is 1 when a file is stale.

use std::{env, fs, path::Path, process::ExitCode};

fn main() -> ExitCode {
    let mut check = false;
    let mut root = ".".to_owned();
    for argument in env::args().skip(1) {
        match argument.as_str() {
            "--check" => check = true,
            flag if flag.starts_with('-') => {
                eprintln!("crdgen: unknown flag `{flag}`; usage: crdgen [--check] [ROOT]");
                return ExitCode::from(2);
            }
            path => root = path.to_owned(),
        }
    }
    let mut stale = false;
    for (path, content) in edgereel_crds::publish::generated::files() {
        let full = Path::new(&root).join(&path);
        if fs::read_to_string(&full).is_ok_and(|stored| stored == content) {
            continue;
        }
        if check {
            eprintln!("{path} is stale; run `cargo run -p edgereel-crds --bin crdgen`");
            stale = true;
            continue;
        }
        let directory = full.parent().unwrap_or(Path::new("."));
        if let Err(error) = fs::create_dir_all(directory).and_then(|()| fs::write(&full, content)) {
            eprintln!("crdgen: cannot write {}: {error}", full.display());
            return ExitCode::FAILURE;
        }
        println!("wrote {path}");
    }
    if stale { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
