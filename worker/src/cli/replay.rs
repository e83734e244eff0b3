//! `edgereel replay`: dead letters back into their topics, or a time range of a topic into another.

use std::{io::IsTerminal, process::ExitCode, time::Duration};

use edgereel_crds::plan::{Connection, Plan};
use edgereel_runtime::command::{
    place::{Loaded, Place},
    say,
};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;

use super::{Format, chosen, load, print_as};
use crate::replay::{
    Done, Failed, Wish,
    choice::{self, Choice},
    replay,
};

/// Failures that are shown one by one.
const SHOWN: usize = 20;

/// How `edgereel replay` is called.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, group = clap::ArgGroup::new("what").required(true))]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// The dead letters of this sink (NAME or namespace/NAME), back into the topics that they came from.
    #[arg(long, value_name = "NAME", group = "what")]
    sink: Option<String>,
    /// The records of this topic, into the one that `--to` names.
    #[arg(long, value_name = "TOPIC", group = "what", requires = "to")]
    topic: Option<String>,
    /// The topic that is written to, which has to be there. Without it, dead letters go where they came from.
    #[arg(long, value_name = "TOPIC")]
    to: Option<String>,
    /// Only this record. May be given several times.
    #[arg(long, value_name = "PARTITION:OFFSET")]
    at: Vec<choice::Place>,
    /// Only records from this time on, by their own time; of a dead letter, that is when it was written.
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Only records before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// Only dead letters with this reason, such as `bad_json`. May be given several times.
    #[arg(long, value_name = "REASON")]
    reason: Vec<String>,
    /// So many at most, the oldest of each partition first.
    #[arg(long, value_name = "NUMBER")]
    limit: Option<u64>,
    /// Count what would be sent, and to which topics that are not there; send nothing.
    #[arg(long)]
    dry_run: bool,
    /// How the result is printed.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  edgereel replay -f lab/ --sink frontgate1 --dry-run
          how many dead letters there are, and where they would go
  edgereel replay -f lab/ --sink frontgate1 --reason bad_json
          those that were no JSON, after the producer was mended
  edgereel replay -f lab/ --sink frontgate1 --at 0:17
          a single one
  edgereel replay -f lab/ --topic AgriCam3 --to AgriCam3-again \\
                  --since 2024-06-04T10:00:00Z --until 2024-06-04T11:00:00Z
          an hour of a topic into another

A record keeps its key, value, time and headers; those that made a dead letter
of it are taken off. It reads what the topic holds at the start and removes
nothing: a second call sends the same records again.

Exit status: 0 when all that was chosen is acknowledged, 1 when not, 2 when it
could not be done at all.";

/// Runs the command.
pub fn run(args: Args) -> ExitCode {
    let Loaded { plan, secrets, .. } = match load(&args.place, "off") {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let (connection, from) = match source(&args, &plan) {
        Ok(source) => source,
        Err(message) => {
            say(message);
            return ExitCode::from(2);
        }
    };
    if args.to.as_ref() == Some(&from) {
        say(format_args!("topic {from} cannot be sent into itself: name another with `--to`"));
        return ExitCode::from(2);
    }
    let choice = Choice { at: args.at, since: args.since, until: args.until, reasons: args.reason, limit: args.limit };
    let (to, dry_run) = (args.to.as_deref(), args.dry_run);
    let wish = Wish { connection, secrets: &secrets, from: &from, to, choice: &choice, dry_run };
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
    let style = ProgressStyle::with_template("{wide_bar} {human_pos}/{human_len} records, {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(200));
    let result = replay(&wish, &mut |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    let done = match result {
        Ok(done) => done,
        Err(fault) => {
            say(fault.message);
            return ExitCode::from(2);
        }
    };
    let whole = done.failed.is_empty() && done.unaddressed == 0 && done.ended.is_none();
    let printed = print_as(args.format, &[done], |done| done.iter().map(|done| shown(done, dry_run)).collect());
    if whole { printed } else { ExitCode::FAILURE }
}

/// The topic that is read, and where it is.
fn source<'a>(args: &Args, plan: &'a Plan) -> Result<(&'a Connection, String), String> {
    if let Some(wanted) = &args.sink {
        let mut sinks = plan.sinks.iter().filter(|sink| chosen(&sink.name, std::slice::from_ref(wanted)));
        let sink = sinks.next().ok_or_else(|| format!("there is no FrameSink `{wanted}` in the files"))?;
        if let Some(other) = sinks.next() {
            return Err(format!("both {} and {} are meant by `{wanted}`: give namespace/name", sink.name, other.name));
        }
        let letters = sink.spec.dead_letter.as_ref();
        let letters = letters.ok_or_else(|| format!("FrameSink {} has no `spec.deadLetter`", sink.name))?;
        return Ok((&sink.connection, letters.topic.clone()));
    }
    let topic = args.topic.clone().unwrap_or_default();
    let cameras = plan.cameras.iter().map(|camera| (&camera.connection, camera.spec.topic.name == topic));
    let sinks = plan.sinks.iter().map(|sink| (&sink.connection, sink.topics.contains(&topic)));
    let all: Vec<(&Connection, bool)> = cameras.chain(sinks).collect();
    // That of a resource that uses the topic; or the only one that there is.
    let found = all.iter().find(|(_, uses)| *uses).or(all.first()).map(|(connection, _)| *connection);
    let found = found.ok_or("the files hold no CameraStream and no FrameSink: nothing says which Kafka to ask")?;
    let is_sure = all.iter().any(|(_, uses)| *uses) || all.iter().all(|(other, _)| other.name == found.name);
    match is_sure {
        true => Ok((found, topic)),
        false => {
            Err(format!("no resource in the files uses topic {topic}, and they name several Kafkas: give files of one"))
        }
    }
}

fn shown(done: &Done, dry_run: bool) -> String {
    let Done { from, looked_at, chosen, unaddressed, sent, failed, ended } = done;
    let mut text = format!("{from}: {looked_at} records looked at, {chosen} chosen\n");
    let (word, not) = match dry_run {
        true => ("would be sent", "could not be sent"),
        false => ("acknowledged", "was not acknowledged"),
    };
    for (topic, count) in sent {
        text += &format!("  {count} {word} to topic {topic}\n");
    }
    if *unaddressed > 0 {
        text += &format!("  {unaddressed} are no dead letters and name no topic: give one with `--to`\n");
    }
    for failure in failed.iter().take(SHOWN) {
        let Failed { partition, offset, topic, message } = failure;
        text += &format!("  {partition}:{offset} {not} to topic {topic}: {message}\n");
    }
    if failed.len() > SHOWN {
        text += &format!("  … and {} more; `--format json` shows them\n", failed.len() - SHOWN);
    }
    if let Some(why) = ended {
        text += &format!("  it ended there, and the rest was not looked at: {why}\n");
    }
    text
}
