//! `edgereel lag`: how far each sink is behind its topics, by partition.

use std::process::ExitCode;

use edgereel_crds::{frame_sink::StartFrom, plan::SinkPlan};
use edgereel_kafka::{
    client::KafkaFault,
    reader::{Extent, TopicReader},
};
use edgereel_runtime::{
    command::{
        place::{Loaded, Place},
        say,
    },
    secrets::Secrets,
};
use jiff::Timestamp;
use serde::Serialize;

use super::{
    Format, chosen,
    columns::{Side, table},
    load, print_as,
};

/// How `edgereel lag` is called.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// Only the sinks of this name (or namespace/name). May be given several times.
    #[arg(long, value_name = "NAME")]
    sink: Vec<String>,
    /// How it is printed.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  edgereel lag -f lab/                          every sink in the folder
  edgereel lag -f lab/ --sink frontgate1        one of them
  edgereel lag -f lab/ --format json | jq 'map(.lag) | add'

LAG is the number of records that are not committed yet: those that are not on
the disk, and those whose commit is on its way. BEHIND is the age of the oldest
of them. It asks Kafka from outside of the group, and changes nothing.

Exit status: 0 when all sinks could be asked, 2 when not.";

/// One partition of one sink's topics.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Lag {
    /// `namespace/name`.
    sink: String,
    group: String,
    topic: String,
    partition: i32,
    /// What the group has committed: the offset that is read next.
    #[serde(skip_serializing_if = "Option::is_none")]
    committed: Option<i64>,
    /// The offset that the next record gets.
    end: i64,
    /// Records from there to the end; none where the sink has not begun and its `startFrom` does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    lag: Option<i64>,
    /// The age of the oldest of them in seconds, by its record's time.
    #[serde(skip_serializing_if = "Option::is_none")]
    behind_seconds: Option<f64>,
    /// Records that were committed to be read and that the topic has deleted: lost to the sink.
    #[serde(skip_serializing_if = "is_zero")]
    deleted: i64,
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// Runs the command.
pub fn run(args: Args) -> ExitCode {
    let Loaded { plan, secrets, .. } = match load(&args.place, "off") {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let sinks: Vec<&SinkPlan> = plan.sinks.iter().filter(|sink| chosen(&sink.name, &args.sink)).collect();
    if sinks.is_empty() {
        say("no FrameSink in the files to ask for");
        return ExitCode::from(2);
    }
    let (mut found, mut failed) = (vec![], false);
    for sink in sinks {
        match ask(sink, &secrets) {
            Ok(lags) => found.extend(lags),
            Err(fault) => {
                say(format_args!("{}: {}", sink.name, fault.message));
                failed = true;
            }
        }
    }
    let printed = print_as(args.format, &found, shown);
    if failed { ExitCode::from(2) } else { printed }
}

fn ask(sink: &SinkPlan, secrets: &Secrets) -> Result<Vec<Lag>, KafkaFault> {
    let reader = TopicReader::open(&sink.connection, secrets, &sink.group)?;
    let mut lags = vec![];
    for topic in &sink.topics {
        for (partition, extent) in reader.extents(topic)? {
            let (next, deleted) = next(&extent, &sink.spec.start_from);
            let lag = next.map(|next| extent.high - next);
            let behind = match next {
                Some(next) if next < extent.high => oldest(&reader, topic, partition, next, extent.high)?,
                Some(_) => Some(0.0),
                None => None,
            };
            lags.push(Lag {
                sink: sink.name.to_string(),
                group: sink.group.clone(),
                topic: topic.clone(),
                partition,
                committed: extent.committed,
                end: extent.high,
                lag,
                behind_seconds: behind,
                deleted,
            });
        }
    }
    Ok(lags)
}

/// The offset that is read next, if it can be told, and how many records before it are gone unread.
fn next(extent: &Extent, start_from: &StartFrom) -> (Option<i64>, i64) {
    match (extent.committed, start_from) {
        (Some(committed), _) => (Some(committed.clamp(extent.low, extent.high)), (extent.low - committed).max(0)),
        (None, StartFrom::Earliest) => (Some(extent.low), 0),
        // Where it begins is decided when it does.
        (None, _) => (None, 0),
    }
}

/// The age of the first record in this range, in seconds; 0 when it holds none, only markers of transactions.
fn oldest(reader: &TopicReader, topic: &str, partition: i32, from: i64, end: i64) -> Result<Option<f64>, KafkaFault> {
    enum Stop {
        Found(Option<i64>),
        Fault(KafkaFault),
    }
    impl From<KafkaFault> for Stop {
        fn from(fault: KafkaFault) -> Self {
            Stop::Fault(fault)
        }
    }
    let now = Timestamp::now().as_millisecond();
    match reader.read(topic, partition, from..end, |record| Err(Stop::Found(record.timestamp))) {
        Ok(()) => Ok(Some(0.0)),
        Err(Stop::Found(timestamp)) => Ok(timestamp.map(|time| (now - time).max(0) as f64 / 1000.0)),
        Err(Stop::Fault(fault)) => Err(fault),
    }
}

fn shown(lags: &[Lag]) -> String {
    use Side::{Left, Right};
    let heads = [
        ("SINK", Left),
        ("GROUP", Left),
        ("TOPIC", Left),
        ("PARTITION", Right),
        ("COMMITTED", Right),
        ("END", Right),
        ("LAG", Right),
        ("BEHIND", Right),
    ];
    let or_dash = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let row = |lag: &Lag| {
        let behind = lag.behind_seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.1} s"));
        let mut row = vec![lag.sink.clone(), lag.group.clone(), lag.topic.clone(), lag.partition.to_string()];
        row.extend([or_dash(lag.committed), lag.end.to_string(), or_dash(lag.lag), behind]);
        row
    };
    let mut text = table(&heads, &lags.iter().map(row).collect::<Vec<_>>());
    for lag in lags.iter().filter(|lag| lag.deleted > 0) {
        let Lag { sink, topic, partition, deleted, .. } = lag;
        text += &format!(
            "{sink}: topic {topic} has deleted {deleted} records of partition {partition} that were not read yet: see \
             onOffsetLost\n"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(low: i64, high: i64, committed: Option<i64>) -> Extent {
        Extent { low, high, committed, began: None }
    }

    #[test]
    fn what_is_read_next_is_the_commit_the_beginning_or_not_known() {
        for (extent, start_from, expected) in [
            (extent(0, 10, Some(4)), StartFrom::Earliest, (Some(4), 0)),
            (extent(0, 10, Some(10)), StartFrom::Latest, (Some(10), 0)),
            (extent(6, 10, Some(4)), StartFrom::Earliest, (Some(6), 2)),
            (extent(2, 10, None), StartFrom::Earliest, (Some(2), 0)),
            (extent(2, 10, None), StartFrom::Latest, (None, 0)),
            // A commit of records that a shorter topic does not have (yet).
            (extent(0, 10, Some(12)), StartFrom::Earliest, (Some(10), 0)),
        ] {
            assert_eq!(next(&extent, &start_from), expected, "{extent:?}");
        }
    }

    #[test]
    fn a_partition_has_a_line_and_what_was_deleted_a_sentence() {
        let lag = Lag {
            sink: "default/gate".into(),
            group: "g".into(),
            topic: "Gate".into(),
            partition: 0,
            committed: Some(4),
            end: 10,
            lag: Some(4),
            behind_seconds: Some(1.25),
            deleted: 2,
        };
        let expected = "\
SINK          GROUP  TOPIC  PARTITION  COMMITTED  END  LAG  BEHIND
default/gate  g      Gate           0          4   10    4   1.2 s
default/gate: topic Gate has deleted 2 records of partition 0 that were not read yet: see onOffsetLost
";
        assert_eq!(shown(&[lag]), expected);
    }
}
