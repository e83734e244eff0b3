//! The command line: one file a command.

pub mod camera;
pub mod check;
pub mod run;
pub mod validate;
pub mod verify;

use std::{
    fmt::Display,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{
    CommandFactory, Parser, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
};
use clap_complete::Shell;
use edgereel_crds::{plan::Plan, problem::Problem};
use edgereel_runtime::{plain::plain, secrets::Secrets};

/// Cameras to Kafka, Kafka to disk: declared as resources, with nothing lost.
#[derive(Debug, Parser)]
#[command(name = "edgereel", version, about, max_term_width = 100, arg_required_else_help = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Which resources, and what of them differs by place.
#[derive(Debug, clap::Args)]
pub struct Place {
    /// Files or directories with resources (YAML or JSON; `-` is standard input). May be given several times.
    #[arg(short = 'f', long = "filename", required = true, num_args = 1.., value_name = "FILE|DIR")]
    pub files: Vec<PathBuf>,
    /// What stands in for the resources' volumes: the volume itself where they name one only, DIR/<hostPath> and so on where
    /// they name several. Without it, `storage.hostPath.path` itself.
    #[arg(long, value_name = "DIR")]
    pub storage_root: Option<PathBuf>,
    /// Where secrets are: `secretRef {name, key}` is read at DIR/name/key. Secrets among the files work too.
    #[arg(long, value_name = "DIR")]
    pub secrets_dir: Option<PathBuf>,
}

impl Place {
    /// The plan that the files make, and the secrets at hand; or, the problems being printed, the exit status.
    fn read(&self) -> Result<(Plan, Secrets), ExitCode> {
        self.load().map_err(|problems| {
            validate::print_problems(&problems);
            ExitCode::FAILURE
        })
    }

    /// The plan that the files make, and the secrets at hand.
    ///
    /// # Errors
    /// Every problem of the files.
    fn load(&self) -> Result<(Plan, Secrets), Vec<Problem>> {
        let (mut plan, _) = validate::load_plan(&self.files)?;
        let secrets = Secrets::new(self.secrets_dir.clone(), std::mem::take(&mut plan.secrets));
        Ok((plan, secrets))
    }

    /// Whether standard input is one of the files: it can be read once.
    fn reads_stdin(&self) -> bool {
        self.files.iter().any(|file| file.as_os_str() == "-")
    }
}

const EXAMPLES: &str = "\
Examples:
  edgereel camera --count 2           two synthetic cameras to try things with
  edgereel validate -f lab/           every problem in the files, at once
  edgereel check -f lab/              ask cameras, Kafka and disks once
  edgereel run -f lab/                run every resource in the files
  edgereel verify -f lab/             compare the disk with what is in Kafka
  edgereel crds | kubectl apply -f -  teach a cluster the resources
  edgereel completions bash           what makes Tab complete commands";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run every resource in the files until SIGINT or SIGTERM.
    Run(run::Args),
    /// Check files without running anything: every problem, with its place and remedy.
    Validate(validate::Args),
    /// Ask every camera, Kafka and disk once whether the resources will work; changes nothing.
    Check(check::Args),
    /// Compare each sink's files with its topic, record by record.
    Verify(verify::Args),
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
        Command::Run(args) => run::run(args),
        Command::Validate(args) => validate::run(args),
        Command::Check(args) => check::run(args),
        Command::Verify(args) => verify::run(args),
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

/// A line for people, on standard error; `eprintln!` panics where that is closed.
fn say(message: impl Display) {
    let _ = writeln!(io::stderr(), "edgereel: {message}");
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
