//! `edgereel verify`: each sink's files against its topic.

use std::{
    io::{self, BufWriter, IsTerminal, Write},
    process::ExitCode,
    time::Duration,
};

use console::style;
use edgereel_crds::plan::SinkPlan;
use edgereel_runtime::{
    command::{
        place::{Loaded, Place},
        say,
    },
    secrets::Secrets,
};
use indicatif::{ProgressBar, ProgressStyle};

use super::{chosen, load, told};
use crate::verify::{
    self, Step,
    report::{Archived, Counts, Findings, Report},
};

/// So many findings of a sink are shown without `--all`.
const SHOWN: usize = 20;

/// How `edgereel verify` is called.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// Only the sinks of this name (or namespace/name). May be given several times.
    #[arg(long, value_name = "NAME")]
    sink: Vec<String>,
    /// Show every finding (up to 100000), not only the first twenty of each sink.
    #[arg(long)]
    all: bool,
    /// Print the reports as a JSON array.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  edgereel verify -f lab/                       every sink in the folder
  edgereel verify -f lab/ --sink frontgate1     one of them
  edgereel verify -f lab/ --json | jq '.[].findings'

JPEG files and MJPEG video are compared byte by byte, XVID video by its frame
count, index and CSV. Records that are not committed yet are pending, not
missing: a running sink can be verified.

Exit status: 0 when nothing is wrong, 1 when something is missing, twice, torn
or foreign, 2 when it could not be found out: before the first run, without the
disk or without Kafka.";

/// Runs the command.
pub fn run(args: Args) -> ExitCode {
    let Loaded { plan, secrets, .. } = match load(&args.place, "error") {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let sinks: Vec<&SinkPlan> = plan.sinks.iter().filter(|sink| chosen(&sink.name, &args.sink)).collect();
    if sinks.is_empty() {
        say("no FrameSink to verify in the files");
        return ExitCode::from(2);
    }
    let (mut reports, mut failed) = (vec![], false);
    for sink in &sinks {
        match verify_one(sink, &args, &secrets) {
            Ok(report) => {
                let shown = if args.json { Ok(()) } else { show(&report, args.all) };
                reports.push(report);
                match shown {
                    Ok(()) => {}
                    // The reader has gone away: nobody wants to know of the next.
                    Err(e) if e.kind() == io::ErrorKind::BrokenPipe => break,
                    Err(e) => failed |= !told(Err(e)),
                }
            }
            Err(message) => {
                let _ = writeln!(io::stderr(), "{} {}: {message}", style("error").red().bold().for_stderr(), sink.name);
                failed = true;
            }
        }
    }
    if args.json {
        failed |= !told(show_json(&reports));
    }
    failed |= reports.len() < sinks.len();
    match (failed, reports.iter().all(Report::is_clean)) {
        (true, _) => ExitCode::from(2),
        (false, clean) => ExitCode::from(u8::from(!clean)),
    }
}

fn show_json(reports: &[Report]) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    serde_json::to_writer_pretty(&mut out, reports)?;
    writeln!(out)?;
    out.flush()
}

fn verify_one(sink: &SinkPlan, args: &Args, secrets: &Secrets) -> Result<Report, String> {
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
    bar.set_prefix(sink.name.to_string());
    bar.set_style(style_of(None, 0));
    bar.enable_steady_tick(Duration::from_millis(200));
    let mut shown = None;
    let report = verify::verify(sink, args.place.storage_root.as_deref(), secrets, &mut |step, done, total| {
        if shown.replace(step) != Some(step) {
            bar.reset();
            bar.set_style(style_of(Some(step), total));
        }
        bar.set_length(total);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    report.map_err(|fault| fault.message)
}

fn style_of(step: Option<Step>, total: u64) -> ProgressStyle {
    ProgressStyle::with_template(template(step, total)).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// What the bar says of a step. How many files there are is known when they are listed; and a bar of nothing is none.
fn template(step: Option<Step>, total: u64) -> &'static str {
    match step {
        None => "{prefix} {spinner} asking Kafka",
        Some(Step::Files) => "{prefix} {spinner} {human_pos} files listed",
        Some(Step::Records | Step::Letters) if total == 0 => "{prefix} {spinner}",
        Some(Step::Records) => "{prefix} {wide_bar} {human_pos}/{human_len} records, {eta} left",
        Some(Step::Letters) => "{prefix} {wide_bar} {human_pos}/{human_len} dead letters, {eta} left",
    }
}

/// Writes the report. Whoever reads it may have seen enough before its end (`| head`): that is no error.
fn show(report: &Report, all: bool) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let word = if report.is_clean() { style("ok").green().bold() } else { style("wrong").red().bold() };
    let Report { sink, records, present, pending, left_out, invalid, letters_gone, .. } = report;
    let Report { before_start, before_folder, former, deleted, .. } = report;
    write!(out, "{word} {sink}: {records} records, {present} frames present")?;
    for (count, what) in [
        (*left_out, "left out to keep real time"),
        (*pending, "pending"),
        (*before_start, "from before the start"),
        (*before_folder, "from before the sink's folder was made"),
        (*invalid, "not frames"),
        (*letters_gone, "of them with dead letters that the topic may no longer hold"),
        (*deleted, "deleted by retention"),
        (*former, "of former topics"),
    ] {
        if count > 0 {
            write!(out, ", {count} {what}")?;
        }
    }
    let Findings { counts: Counts { missing, duplicate, torn, foreign }, list } = &report.found;
    writeln!(out, ", {missing} missing, {duplicate} duplicate, {torn} torn, {foreign} foreign")?;
    for (place, Archived { files, bytes, only }) in &report.archived {
        let megabytes = *bytes as f64 / 1e6;
        writeln!(out, "  {files} closed files ({megabytes:.1} MB) are in {place}, {only} of them there alone")?;
    }
    let shown = if all { list.len() } else { list.len().min(SHOWN) };
    for finding in &list[..shown] {
        writeln!(out, "  {finding}")?;
    }
    let more = report.found.counts.total() - shown as u64;
    if more > 0 {
        let hint = if all { "" } else { " (--all shows them)" };
        writeln!(out, "  … and {more} more{hint}")?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_there_is_nothing_to_count_there_is_no_bar() {
        for step in [None, Some(Step::Files), Some(Step::Records), Some(Step::Letters)] {
            assert!(!template(step, 0).contains("human_len"), "{step:?}");
        }
        assert!(template(Some(Step::Records), 1).contains("{wide_bar}"));
    }
}
