//! `edgereel check`: every camera, Kafka and disk of the files, asked once.

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
    time::Duration,
};

use console::{Term, style};
use edgereel_crds::units;
use edgereel_runtime::{
    command::place::{Loaded, Place},
    plain::plain,
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{load, print};
use crate::check::{self, Finding, Verdict};

/// What takes longer shows how far it is.
const QUICK: Duration = Duration::from_secs(1);

/// How `edgereel check` is called.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// How long each camera, Kafka, disk and archive may take.
    #[arg(long, default_value = "10s", value_name = "DURATION")]
    timeout: units::Duration,
    /// Print the findings as a JSON array.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  edgereel check -f lab/
          every resource in the folder, before it is run
  edgereel check -f camera.yaml --timeout 30s
          a camera that takes its time
  edgereel check -f lab/ --json | jq '.[] | select(.verdict != \"ok\")'
          what is not well, for a script

It dials each camera for some seconds, asks Kafka for topics, rights and limits,
and tries to write to each disk and archive. Nothing is changed: no topic is
made, no consumer group is joined, no file and no object is left. A running
`edgereel run` may go on.

Exit status: 0 when nothing fails (warnings included), 1 when something does or
the files have problems, 2 when the arguments are wrong.";

/// Runs the command.
pub fn run(args: Args) -> ExitCode {
    // What librdkafka says on the way is in the findings.
    let Loaded { plan, secrets, .. } = match load(&args.place, "off") {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    if plan.cameras.is_empty() && plan.sinks.is_empty() {
        eprintln!("edgereel: the files hold no CameraStream and no FrameSink: nothing to check");
        return ExitCode::from(2);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("edgereel: no threads to check with: {}", plain(e));
            return ExitCode::FAILURE;
        }
    };
    let found = runtime.block_on(async {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        let style = ProgressStyle::with_template("{spinner} {pos} of {len} checked");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let root = args.place.storage_root.as_deref();
        let mut checked = std::pin::pin!(check::check(&plan, &secrets, root, *args.timeout, |done, total| {
            bar.set_length(total as u64);
            bar.set_position(done as u64);
        }));
        let found = match tokio::time::timeout(QUICK, &mut checked).await {
            Ok(found) => found,
            Err(_) => {
                if io::stderr().is_terminal() {
                    bar.set_draw_target(ProgressDrawTarget::stderr());
                    bar.enable_steady_tick(Duration::from_millis(200));
                }
                checked.await
            }
        };
        bar.finish_and_clear();
        found
    });
    // A disk or broker that hangs must not hold the exit up.
    runtime.shutdown_timeout(Duration::from_millis(100));
    let printed = if args.json {
        print(&(serde_json::to_string_pretty(&found).unwrap_or_default() + "\n"))
    } else {
        show(&found)
    };
    match found.iter().any(|finding| finding.verdict == Verdict::Fail) {
        true => ExitCode::FAILURE,
        false => printed,
    }
}

/// The findings as a table. On a terminal, long ones are wrapped; elsewhere each has its line.
fn show(found: &[Finding]) -> ExitCode {
    let term = Term::stdout();
    let width = term.is_term().then(|| usize::from(term.size().1));
    let mut text = String::new();
    let resource = found.iter().map(|f| f.resource.chars().count()).max().unwrap_or(0).max(8);
    let indent = resource + 15;
    text += &format!("{:<6}{:<resource$}  {:<7}FOUND\n", "", "RESOURCE", "CHECK");
    for Finding { resource: name, check, verdict, message } in found {
        let word = match verdict {
            Verdict::Ok => style("OK    ").green(),
            Verdict::Warn => style("WARN  ").yellow().bold(),
            Verdict::Fail => style("FAIL  ").red().bold(),
        };
        let room = width.map_or(usize::MAX, |width| width.saturating_sub(indent).max(30));
        let lines = wrapped(message, room).join(&format!("\n{:indent$}", ""));
        text += &format!("{word}{name:<resource$}  {check:<7}{lines}\n");
    }
    let count = |verdict| found.iter().filter(|f| f.verdict == verdict).count();
    let (ok, warn, fail) = (count(Verdict::Ok), count(Verdict::Warn), count(Verdict::Fail));
    text += &format!("{} checks: {ok} ok, {warn} to look at, {fail} failed\n", found.len());
    print(&text)
}

/// A text in lines of so many characters, broken between words; a word that is longer has a line of its own.
fn wrapped(text: &str, room: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= room => *line += &format!(" {word}"),
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_wrapped_between_words_and_loses_none() {
        assert_eq!(wrapped("a bc def ghij", 6), ["a bc", "def", "ghij"]);
        assert_eq!(wrapped("an-endless-word x", 4), ["an-endless-word", "x"]);
        assert_eq!(wrapped("all of it", usize::MAX), ["all of it"]);
        assert!(wrapped("", 5).is_empty());
    }
}
