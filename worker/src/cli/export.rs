//! `edgereel export`: a time range of what was recorded, as a clip.

use std::{
    io::IsTerminal,
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use edgereel_crds::{
    frame_sink::Output,
    plan::{Plan, SinkPlan},
    template::zone::zone,
};
use edgereel_runtime::{
    command::{
        place::{Loaded, Place},
        say,
    },
    fault::Fault,
};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use super::{
    Format, chosen,
    columns::{Side, table},
    load, print_as,
};
use crate::export::{
    Origin, Wish,
    cut::Range,
    holding::{Holding, holdings},
    look,
    manifest::Manifest,
    moment::Clock,
    mp4,
    target::{Kind, Target},
};

/// Gaps and damaged frames that are shown one by one.
const SHOWN: usize = 20;

/// How `edgereel export` is called.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// The sink that recorded it (NAME or namespace/NAME), where the files hold several.
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
    /// When it begins.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, required_unless_present = "list")]
    from: Option<String>,
    /// When it ends: a frame of this very time is not in it any more.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, default_value = "now")]
    to: String,
    /// What is written: NAME.avi, NAME.mp4, or a directory of pictures.
    #[arg(short = 'o', long, value_name = "FILE|DIR", required_unless_present_any = ["list", "dry_run"])]
    output: Option<PathBuf>,
    /// Only the frames of this topic, of a sink that has several.
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// Take all of it from the topics, as long as Kafka has it, and nothing from the disk.
    #[arg(long, conflicts_with = "from_disk")]
    from_topic: bool,
    /// Take all of it from the disk, and do not ask Kafka for what the disk lacks.
    #[arg(long)]
    from_disk: bool,
    /// The time zone of times without one, and of those that are written into pictures and names, such as Europe/Rome. Default:
    /// the output's `timeZone`, or UTC.
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// Write its time into each picture. JPEGs are encoded anew then.
    #[arg(long)]
    burn_timestamp: bool,
    /// Look at each row of each video's CSV, and at each record of the topics: for recordings in which the clock was set by more
    /// than ten minutes, and records that were sent long after their frames were captured.
    #[arg(long)]
    thorough: bool,
    /// Replace a former clip of this name.
    #[arg(long)]
    force: bool,
    /// Say what would be in the clip, and write nothing.
    #[arg(long)]
    dry_run: bool,
    /// List what the disks hold: each video, or the directory of pictures, from when to when.
    #[arg(long, conflicts_with_all = ["dry_run", "output", "from", "topic", "from_topic"])]
    list: bool,
    /// How the result is printed.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  edgereel export -f lab/ --list
          what was recorded, from when to when
  edgereel export -f lab/ --from -10m -o clip.mp4
          the last ten minutes, to be sent to somebody
  edgereel export -f lab/ --sink gate --from '2024-06-04 10:30' --to +90s \\
                  --time-zone Europe/Rome -o clip.avi
          a minute and a half, byte for byte as the camera sent it
  edgereel export -f lab/ --from 10:30 --to 10:31 --burn-timestamp -o clip.mp4
          a minute of today, with the time in the picture
  edgereel export -f lab/ --from -1h --from-topic -o frames/
          the pictures of an hour, from Kafka

TIME is RFC 3339 (2024-06-04T10:30:00Z), a local time (2024-06-04 10:30, 10:30),
`now`, `-10m` (so long ago), or for --to `+30s` (so long after the beginning).

A clip has each recorded frame of the range once, and nothing else. AVI and
directories keep the JPEGs as they are; MP4 is H.264, which browsers and phones
play. Gaps are reported; those above ten seconds take no time in the clip.
Beside it: NAME.csv (which record each frame is, and when it was captured),
NAME.json (what it was made of), NAME.sha256 for `sha256sum -c`.

Exit status: 0 when the clip is there and whole, 1 when the range holds nothing
or some frames cannot be read, 2 when it could not be done.";

/// Runs the command.
pub fn run(args: Args) -> ExitCode {
    let Loaded { plan, secrets, .. } = match load(&args.place, "off") {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    if args.list {
        return list(&args, &plan);
    }
    let done = wish(&args, &plan).and_then(|(plan, range, zone)| {
        let from = match (args.from_topic, args.from_disk) {
            (true, _) => Origin::Topic,
            (_, true) => Origin::Disk,
            _ => Origin::Both,
        };
        let (storage_root, topic) = (args.place.storage_root.as_deref(), args.topic.as_deref());
        let wish = Wish { plan, secrets: &secrets, storage_root, range, topic, from, thorough: args.thorough };
        export(&args, &wish, &zone)
    });
    let (manifest, zone) = match done {
        Ok(Some(done)) => done,
        Ok(None) => return ExitCode::FAILURE,
        Err(message) => {
            say(message);
            return ExitCode::from(2);
        }
    };
    let whole = manifest.damaged.is_empty();
    let dry_run = args.dry_run;
    let printed = print_as(args.format, &[manifest], |all| all.iter().map(|one| shown(one, &zone, dry_run)).collect());
    if whole { printed } else { ExitCode::FAILURE }
}

/// The sink, the range and the time zone that are meant.
fn wish<'a>(args: &Args, plan: &'a Plan) -> Result<(&'a SinkPlan, Range, TimeZone), String> {
    let wanted: Vec<String> = args.sink.iter().cloned().collect();
    let mut sinks = plan.sinks.iter().filter(|sink| chosen(&sink.name, &wanted));
    let sink = match (sinks.next(), &args.sink) {
        (Some(sink), _) => sink,
        (None, Some(wanted)) => return Err(format!("there is no FrameSink `{wanted}` in the files")),
        (None, None) => return Err("the files hold no FrameSink: nothing says where it was recorded".into()),
    };
    let others: Vec<String> = sinks.map(|sink| sink.name.to_string()).collect();
    if !others.is_empty() {
        return Err(format!(
            "the files hold several FrameSinks: choose with `--sink` {} or {}",
            sink.name,
            others.join(" or ")
        ));
    }
    if let Some(topic) = args.topic.as_ref().filter(|topic| !sink.topics.contains(topic)) {
        return Err(format!("FrameSink {} does not read topic {topic}, but {}", sink.name, sink.topics.join(", ")));
    }
    let zone = zone_of(args, sink)?;
    let now = Timestamp::now();
    let clock = Clock { zone: zone.clone(), now, from: None };
    let from = clock.read(args.from.as_deref().unwrap_or_default()).map_err(|e| format!("--from {e}"))?;
    let clock = Clock { from: Some(from), ..clock };
    let to = clock.read(&args.to).map_err(|e| format!("--to {e}"))?;
    if from > now {
        return Err(format!("{from} is still to come: name a time that is over"));
    }
    if to <= from {
        return Err(format!("the range ends ({to}) before it begins ({from}): exchange `--from` and `--to`"));
    }
    Ok((sink, Range { from, to }, zone))
}

fn zone_of(args: &Args, sink: &SinkPlan) -> Result<TimeZone, String> {
    let own = match &sink.spec.output {
        Output::JpegFiles(spec) => &spec.time_zone,
        Output::Video(spec) => &spec.time_zone,
        Output::Dataset(spec) => &spec.time_zone,
    };
    zone(args.time_zone.as_deref().or(own.as_deref())).map_err(|e| format!("--time-zone: {e}"))
}

/// Writes the clip, or only looks; none where there is nothing, which is said.
fn export(args: &Args, wish: &Wish<'_>, zone: &TimeZone) -> Result<Option<(Manifest, TimeZone)>, String> {
    let said = |fault: Fault| format!("{}: {}", wish.plan.name, fault.message);
    let target = match (&args.output, args.dry_run) {
        (Some(path), false) => Some(Target::new(path, args.force).map_err(|fault| fault.message)?),
        _ => None,
    };
    if target.as_ref().is_some_and(|target| target.kind == Kind::Mp4) {
        mp4::available().map_err(|fault| fault.message)?;
    }
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    bar.enable_steady_tick(Duration::from_millis(200));
    bar.set_message("looking for frames");
    let recording = look(wish, target.as_ref().map(Target::parent));
    let recording = recording.inspect_err(|_| bar.finish_and_clear()).map_err(said)?;
    if recording.is_empty() {
        bar.finish_and_clear();
        for note in recording.manifest(wish).notes {
            say(note);
        }
        say(nothing(args, wish, zone));
        return Ok(None);
    }
    let Some(target) = target else {
        bar.finish_and_clear();
        return Ok(Some((recording.manifest(wish), zone.clone())));
    };
    let style = ProgressStyle::with_template("{wide_bar} {human_pos}/{human_len} frames, {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let interrupted = interrupted();
    let written = recording.write(wish, &target, (zone, args.burn_timestamp), &mut |done, total| {
        bar.set_length(total);
        bar.set_position(done);
        !interrupted.load(Ordering::Relaxed)
    });
    bar.finish_and_clear();
    written.map(|manifest| Some((manifest, zone.clone()))).map_err(said)
}

/// Becomes true when somebody wants it to end: what was begun is cleared away then.
fn interrupted() -> Arc<AtomicBool> {
    let told = Arc::new(AtomicBool::new(false));
    let tell = told.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        if runtime.is_ok_and(|runtime| runtime.block_on(tokio::signal::ctrl_c()).is_ok()) {
            tell.store(true, Ordering::Relaxed);
        }
    });
    told
}

/// That the range holds nothing, and what there is.
fn nothing(args: &Args, wish: &Wish<'_>, zone: &TimeZone) -> String {
    let Range { from, to } = wish.range;
    let there = match holdings(wish.plan, args.place.storage_root.as_deref()) {
        Ok(all) => {
            let oldest = all.iter().filter_map(|holding| holding.from).min();
            let newest = all.iter().filter_map(|holding| holding.to).max();
            match oldest.zip(newest) {
                Some((oldest, newest)) => format!("the disk holds {} to {}", at(oldest, zone), at(newest, zone)),
                None => "the disk tells of no frames".into(),
            }
        }
        Err(fault) => fault.message,
    };
    let topics = match wish.from {
        Origin::Disk => String::new(),
        _ if wish.thorough => format!("; topic {} has none of that time either", wish.plan.topics.join(", ")),
        _ => {
            let topics = wish.plan.topics.join(", ");
            format!("; topic {topics} has none among the records of that time (`--thorough` looks at all)")
        }
    };
    format!("{}: nothing was recorded from {} to {}: {there}{topics}", wish.plan.name, at(from, zone), at(to, zone))
}

fn at(time: Timestamp, zone: &TimeZone) -> String {
    time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S.%3f %:z").to_string()
}

/// For people: `1h 2m 3s`, or `250ms`.
fn length(length: SignedDuration) -> String {
    let exact = if length < SignedDuration::from_mins(1) { 1 } else { 1000 };
    let ms = i64::try_from(length.as_millis()).unwrap_or(i64::MAX);
    format!("{:#}", SignedDuration::from_millis(ms - ms % exact))
}

fn shown(manifest: &Manifest, zone: &TimeZone, dry_run: bool) -> String {
    let Manifest { frames, first, last, gaps, left_out, damaged, notes, sources, clip, .. } = manifest;
    let mut text = match clip {
        Some(clip) => format!("{}: ", clip.name),
        None => String::new(),
    };
    let ends = first.zip(*last).map(|(a, b)| format!(" from {} to {}", at(a, zone), at(b, zone)));
    text += &format!("{frames} frames{}", ends.unwrap_or_default());
    text += match clip {
        Some(clip) if clip.exact => ", byte for byte as they were recorded\n",
        Some(_) => ", encoded anew\n",
        None if dry_run => ", nothing was written\n",
        None => "\n",
    };
    for source in sources {
        let count: i64 = source.records.iter().map(|run| run.last_offset - run.first_offset + 1).sum();
        text += &format!("  {count} of {}\n", source.path.as_deref().unwrap_or("the topic"));
    }
    for gap in gaps.iter().take(SHOWN) {
        let lasts = length(gap.to.duration_since(gap.from));
        text += &format!("  gap of {lasts} from {} to {}\n", at(gap.from, zone), at(gap.to, zone));
    }
    if gaps.len() > SHOWN {
        text += &format!("  … and {} more gaps; `--format json` shows them\n", gaps.len() - SHOWN);
    }
    if *left_out > 0 {
        text +=
            &format!("  {left_out} records are not in the video: they came faster than its speed (`--from-topic`)\n");
    }
    for damaged in damaged.iter().take(SHOWN) {
        text += &format!("  left out, damaged: {damaged}\n");
    }
    if damaged.len() > SHOWN {
        text += &format!("  … and {} more damaged; `--format json` shows them\n", damaged.len() - SHOWN);
    }
    for note in notes {
        text += &format!("  {note}\n");
    }
    text
}

/// What the disks hold.
fn list(args: &Args, plan: &Plan) -> ExitCode {
    let wanted: Vec<String> = args.sink.iter().cloned().collect();
    let sinks: Vec<&SinkPlan> = plan.sinks.iter().filter(|sink| chosen(&sink.name, &wanted)).collect();
    if sinks.is_empty() {
        say("no FrameSink in the files to look for");
        return ExitCode::from(2);
    }
    let (mut found, mut zones, mut failed) = (vec![], vec![], false);
    for sink in sinks {
        let listed = zone_of(args, sink).and_then(|zone| {
            let held = holdings(sink, args.place.storage_root.as_deref());
            Ok((held.map_err(|fault| format!("{}: {}", sink.name, fault.message))?, zone))
        });
        match listed {
            Ok((held, zone)) => {
                zones.extend(held.iter().map(|_| zone.clone()));
                found.extend(held);
            }
            Err(message) => {
                say(message);
                failed = true;
            }
        }
    }
    let printed = print_as(args.format, &found, |found| listed(found, &zones));
    if failed { ExitCode::from(2) } else { printed }
}

fn listed(found: &[Holding], zones: &[TimeZone]) -> String {
    use Side::{Left, Right};
    let heads = [("SINK", Left), ("FROM", Left), ("TO", Left), ("LENGTH", Right), ("MB", Right), ("PATH", Left)];
    let row = |(holding, zone): (&Holding, &TimeZone)| {
        let time = |time: Option<Timestamp>| time.map_or_else(|| "-".to_owned(), |time| at(time, zone));
        let lasts = holding.from.zip(holding.to).map(|(from, to)| length(to.duration_since(from)));
        let megabytes = holding.bytes.map(|bytes| format!("{:.1}", bytes as f64 / 1e6));
        let dash = || "-".to_owned();
        vec![
            holding.sink.clone(),
            time(holding.from),
            time(holding.to),
            lasts.unwrap_or_else(dash),
            megabytes.unwrap_or_else(dash),
            holding.path.clone(),
        ]
    };
    table(&heads, &found.iter().zip(zones).map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_as_exact_as_they_are_short() {
        for (ms, expected) in [(250, "250ms"), (3_800, "3s 800ms"), (3_723_456, "1h 2m 3s"), (0, "0s")] {
            assert_eq!(length(SignedDuration::from_millis(ms)), expected);
        }
    }
}
