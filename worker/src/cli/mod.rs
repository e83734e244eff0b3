//! The command line: one file a command.

pub mod bench;
pub mod camera;
pub mod check;
mod columns;
pub mod discover;
pub mod export;
pub mod lag;
pub mod replay;
pub mod status;
pub mod topics;
pub mod validate;
pub mod verify;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{
    CommandFactory, Parser, Subcommand, ValueEnum,
    error::{ContextKind, ContextValue, ErrorKind},
};
use clap_complete::Shell;
use edgereel_crds::{
    document::Reading,
    name::{ObjectName, WORKER},
};
use edgereel_runtime::{
    cli::log::{self, Lines, LogFormat},
    command::{
        self,
        place::{Loaded, Place},
        say,
    },
    plain::plain,
};

use serde::Serialize;

use crate::kinds::Kinds;

/// Cameras to Kafka, Kafka to disk: declared as resources, with nothing lost.
#[derive(Debug, Parser)]
#[command(name = "edgereel", version, about, max_term_width = 100, arg_required_else_help = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  edgereel camera --count 2           two synthetic cameras to try things with
  edgereel discover                   which cameras there are on this network
  edgereel validate -f lab/           every problem in the files, at once
  edgereel check -f lab/              ask cameras, Kafka and disks once
  edgereel run -f lab/                run every resource in the files
  edgereel verify -f lab/             compare the disk with what is in Kafka
  edgereel export -f lab/ --from -10m -o clip.mp4
                                      a clip of the last ten minutes
  edgereel status                     what runs here, and what is wrong with it
  edgereel lag -f lab/                how far each sink is behind
  edgereel replay -f lab/ --sink x    send dead letters back, after a fix
  edgereel topics -f lab/             which topics there are, and who uses them
  edgereel bench kafka --sweep -f lab/
                                      how fast which producer setting is
  edgereel crds | kubectl apply -f -  teach a cluster the resources
  edgereel completions bash           what makes Tab complete commands";

const RUN_EXAMPLES: &str = "\
Examples:
  edgereel run -f lab/
          a laptop: every resource in the folder
  edgereel run -f camera.yaml -f sink.yaml --snapshots
          two files, and each camera's last frame at /snapshot.jpg
  edgereel run -f resources.yaml --storage-root /data --secrets-dir /secrets \\
               --http 0.0.0.0:9464 --log-format json
          a pod

On a terminal it shows a live table; in a pipe, log lines on standard error.
SIGINT or SIGTERM stops it: frames on their way are delivered and committed
first. A second signal ends it at once; even then nothing acknowledged is lost.
SIGHUP has it read its files again: what changed in them is started, stopped or
restarted, and all else goes on. When the terminal goes away (an SSH session is
closed), it stops as for SIGTERM; `nohup`, systemd or tmux keep it.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run every resource in the files until SIGINT or SIGTERM.
    #[command(after_help = RUN_EXAMPLES)]
    Run(command::Args),
    /// Check files without running anything: every problem, with its place and remedy.
    Validate(validate::Args),
    /// Ask every camera, Kafka and disk once whether the resources will work; changes nothing.
    Check(check::Args),
    /// Compare each sink's files with its topic, record by record.
    Verify(verify::Args),
    /// Show every camera and sink of a running `edgereel run`, or of a cluster, in one table.
    Status(status::Args),
    /// Show how far each sink is behind its topics: by partition, in records and seconds.
    Lag(lag::Args),
    /// List, describe and make topics.
    Topics(topics::Args),
    /// Send dead letters back into their topics, or a time range of a topic into another.
    Replay(replay::Args),
    /// Look for cameras on this machine's networks (ONVIF), and print resources for them.
    Discover(discover::Args),
    /// Measure what a Kafka cluster takes and gives.
    Bench(bench::Args),
    /// Cut a time range out of what was recorded: as AVI, MP4 or pictures.
    Export(export::Args),
    /// Serve synthetic MJPEG cameras, well-behaved or not.
    Camera(camera::Args),
    /// Print the CustomResourceDefinitions as YAML.
    Crds,
    /// Print the JSON Schema of the resources, for editors.
    Schema,
    /// Print a shell's completion script; bash looks for it at ~/.local/share/bash-completion/completions/edgereel.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(error) => with_hint(error).exit(),
    };
    match command {
        Command::Run(args) => command::run(WORKER, args, Kinds::new),
        Command::Validate(args) => validate::run(args),
        Command::Check(args) => check::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Status(args) => status::run(args),
        Command::Lag(args) => lag::run(args),
        Command::Topics(args) => topics::run(args),
        Command::Replay(args) => replay::run(args),
        Command::Discover(args) => discover::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Export(args) => export::run(args),
        Command::Camera(args) => camera::run(args),
        Command::Crds => print(&edgereel_crds::crds_yaml()),
        Command::Schema => print(&format!("{:#}\n", edgereel_crds::json_schema())),
        Command::Completions { shell } => {
            let mut script = vec![];
            clap_complete::generate(shell, &mut Cli::command(), "edgereel", &mut script);
            print(&String::from_utf8_lossy(&script))
        }
    }
}

/// A file without `-f` is what people type first.
fn with_hint(mut error: clap::Error) -> clap::Error {
    let file = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(file)) if error.kind() == ErrorKind::UnknownArgument && !file.starts_with('-') => {
            file.clone()
        }
        _ => return error,
    };
    let hint = format!("files and directories are given with `-f`: `-f {file}`");
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![hint.into()]));
    error
}

/// Reads the files of a command that shows results, whose log would stand between them: it says what `filter` lets through,
/// as `RUST_LOG` has it. Fails with the exit status; the problems are printed.
fn load(place: &Place, filter: &str) -> Result<Loaded, ExitCode> {
    let loaded = place.read(Reading::Strict)?;
    if let Err(message) = log::start(LogFormat::Text, filter, Lines::new(None)) {
        say(message);
    }
    Ok(loaded)
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// A JSON array.
    Json,
}

/// Prints rows in a format.
fn print_as<T: Serialize>(format: Format, rows: &[T], table: impl FnOnce(&[T]) -> String) -> ExitCode {
    print(&match format {
        Format::Table => table(rows),
        Format::Json => serde_json::to_string_pretty(rows).unwrap_or_default() + "\n",
    })
}

/// Whether a resource is one of those that were asked for by `NAME` or `namespace/NAME`; all are if none was.
fn chosen(name: &ObjectName, wanted: &[String]) -> bool {
    wanted.is_empty() || wanted.iter().any(|wanted| *wanted == name.name || *wanted == name.to_string())
}

/// Writes to standard output; a reader that has gone away (`| head`) is no failure.
fn print(text: &str) -> ExitCode {
    match told(io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush())) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Whether a result was written, or nobody reads it any more. Anything else is said.
fn told(written: io::Result<()>) -> bool {
    match written {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            say(format_args!("cannot write to standard output: {}", plain(e)));
            false
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_file_without_its_flag_is_answered_with_the_flag() {
        for command in ["run", "validate", "verify"] {
            let error = Cli::try_parse_from(["edgereel", command, "lab.yaml"]).expect_err("refused");
            let said = with_hint(error).to_string();
            assert!(said.contains("files and directories are given with `-f`: `-f lab.yaml`"), "{said}");
        }
        let error = Cli::try_parse_from(["edgereel", "run", "--files"]).expect_err("refused");
        assert!(!with_hint(error).to_string().contains("files and directories"));
    }

    /// What stands below the options is laid out by hand, and clap would wrap it without regard for that.
    #[test]
    fn what_stands_below_the_options_fits_a_terminal_of_80_columns() {
        let commands = Cli::command();
        for command in [&commands].into_iter().chain(commands.get_subcommands()) {
            for help in [command.get_after_help(), command.get_after_long_help()].into_iter().flatten() {
                for line in help.to_string().lines() {
                    assert!(line.chars().count() <= 80, "{}: {line}", command.get_name());
                }
            }
        }
    }
}
