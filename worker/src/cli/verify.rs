//! `edgereel verify`: each sink's files against its topic.

use std::{io::IsTerminal, process::ExitCode, time::Duration};

use console::style;
use edgereel_crds::{frame_sink::Storage, plan::SinkPlan};
use indicatif::{ProgressBar, ProgressStyle};

use super::{
    Place,
    log::{self, LogFormat},
};
use crate::{
    secrets::Secrets,
    verify::{self, report::Report},
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
    /// Show every finding, not only the first twenty of each sink.
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
or foreign, 2 when it could not be found out.";

/// Runs the command.
pub fn run(args: Args) -> ExitCode {
    let (plan, secrets) = match args.place.read() {
        Ok(read) => read,
        Err(code) => return code,
    };
    if let Err(message) = log::start(LogFormat::Text, "error", None) {
        eprintln!("edgereel: {message}");
    }
    let wanted = |sink: &&SinkPlan| {
        args.sink.is_empty() || args.sink.iter().any(|w| *w == sink.name.name || *w == sink.name.to_string())
    };
    let sinks: Vec<&SinkPlan> = plan.sinks.iter().filter(wanted).collect();
    if sinks.is_empty() {
        eprintln!("edgereel: no FrameSink to verify in the files");
        return ExitCode::from(2);
    }
    let (mut reports, mut failed) = (vec![], false);
    for sink in sinks {
        match verify_one(sink, &args, &secrets) {
            Ok(report) => {
                if !args.json {
                    show(&report, args.all);
                }
                reports.push(report);
            }
            Err(message) => {
                eprintln!("{} {}: {message}", style("error").red().bold().for_stderr(), sink.name);
                failed = true;
            }
        }
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&reports).unwrap_or_default());
    }
    match (failed, reports.iter().all(Report::is_clean)) {
        (true, _) => ExitCode::from(2),
        (false, clean) => ExitCode::from(u8::from(!clean)),
    }
}

fn verify_one(sink: &SinkPlan, args: &Args, secrets: &Secrets) -> Result<Report, String> {
    if args.place.storage_root.is_none() && !matches!(sink.spec.storage, Storage::HostPath(_)) {
        return Err("spec.storage is a PersistentVolumeClaim: say where it is with --storage-root DIR".into());
    }
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("{prefix} {wide_bar} {human_pos}/{human_len} records, {eta} left") {
        bar.set_style(style);
    }
    bar.set_prefix(sink.name.to_string());
    bar.enable_steady_tick(Duration::from_millis(200));
    let report = verify::verify(sink, args.place.storage_root.as_deref(), secrets, |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    report.map_err(|fault| fault.message)
}

fn show(report: &Report, all: bool) {
    let word = if report.is_clean() { style("ok").green().bold() } else { style("wrong").red().bold() };
    let Report { sink, records, present, pending, left_out, before_start, invalid, .. } = report;
    print!("{word} {sink}: {records} records, {present} frames present");
    for (count, what) in [
        (*left_out, "left out to keep real time"),
        (*pending, "pending"),
        (*before_start, "from before the start"),
        (*invalid, "not frames"),
    ] {
        if count > 0 {
            print!(", {count} {what}");
        }
    }
    for (what, count) in report.counts() {
        print!(", {count} {what}");
    }
    println!();
    let shown = if all { usize::MAX } else { SHOWN };
    report.findings.iter().take(shown).for_each(|finding| println!("  {finding}"));
    if report.findings.len() > shown {
        println!("  … and {} more (--all shows them)", report.findings.len() - shown);
    }
}
