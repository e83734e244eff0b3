//! The command line: one file a command.

pub mod camera;
pub mod log;
pub mod run;
pub mod table;
pub mod validate;
pub mod verify;

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use edgereel_crds::plan::Plan;

use crate::{plain::plain, secrets::Secrets};

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
        let (mut plan, _) = validate::read_plan(&self.files)?;
        let secrets = Secrets::new(self.secrets_dir.clone(), std::mem::take(&mut plan.secrets));
        Ok((plan, secrets))
    }
}

const EXAMPLES: &str = "\
Examples:
  edgereel camera --count 2           two synthetic cameras to try things with
  edgereel validate -f lab/           every problem in the files, at once
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
    match Cli::parse().command {
        Command::Run(args) => run::run(args),
        Command::Validate(args) => validate::run(args),
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

/// Writes to standard output; a reader that has gone away (`| head`) is no failure.
fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("edgereel: cannot write to standard output: {}", plain(e));
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
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
