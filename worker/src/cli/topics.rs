//! `edgereel topics`: which topics there are, as `kafka-topics.sh` tells it, and who uses them.

use std::process::ExitCode;

use edgereel_crds::{
    check::largest_record,
    plan::{CameraPlan, Connection, Plan},
};
use edgereel_kafka::{
    client::KafkaFault,
    reader::{Described, TopicReader},
    topics,
};
use edgereel_runtime::{
    command::{
        place::{Loaded, Place},
        say,
    },
    secrets::Secrets,
};
use serde::Serialize;

use super::{
    Format,
    columns::{Side, table},
    load, print_as,
};

/// How `edgereel topics` is called.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// Only the topics of this name. May be given several times.
    #[arg(long, value_name = "NAME")]
    topic: Vec<String>,
    /// Show each partition: leader, copies, offsets.
    #[arg(long)]
    describe: bool,
    /// First make the topics of the cameras in the files that are not there, as the resources declare them.
    #[arg(long)]
    create: bool,
    /// How it is printed.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  edgereel topics -f lab/
          every topic of the clusters that the folder names
  edgereel topics -f lab/ --describe --topic AgriCam3
          its partitions: leader, copies, offsets
  edgereel topics -f lab/ --create
          make the cameras' topics, without capturing anything

Topics that Kafka keeps for itself (__consumer_offsets and such) are shown when
they are asked for by name.

Exit status: 0 when all clusters could be asked, 2 when not.";

/// One topic.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    /// The `KafkaConnection`, `namespace/name`.
    kafka: String,
    #[serde(flatten)]
    topic: Described,
    /// First and next offset of each partition, in their order.
    offsets: Vec<(i64, i64)>,
    /// Offsets from the first to the next: records, and what is none.
    records: i64,
    /// The resources of the files that write or read it.
    used_by: Vec<String>,
}

/// Runs the command.
pub fn run(args: Args) -> ExitCode {
    let Loaded { plan, secrets, .. } = match load(&args.place, "off") {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    if plan.connections.is_empty() {
        say("no KafkaConnection in the files: nothing says which Kafka to ask");
        return ExitCode::from(2);
    }
    let mut failed = args.create && !create(&plan, &secrets);
    let mut rows = vec![];
    for connection in &plan.connections {
        match ask(connection, &plan, &secrets, &args.topic) {
            Ok(found) => rows.extend(found),
            Err(fault) => {
                say(format_args!("{}: {}", connection.name, fault.message));
                failed = true;
            }
        }
    }
    for topic in args.topic.iter().filter(|topic| !failed && rows.iter().all(|row| row.topic.name != **topic)) {
        say(format_args!("there is no topic {topic}, or this user may not see it"));
    }
    let printed = print_as(args.format, &rows, if args.describe { described } else { listed });
    if failed { ExitCode::from(2) } else { printed }
}

/// Makes the cameras' topics that are missing. Whether all are there then, as declared.
fn create(plan: &Plan, secrets: &Secrets) -> bool {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            say(format_args!("no runtime to make topics with: {e}"));
            return false;
        }
    };
    let make = |camera: &CameraPlan| {
        let encoding = &camera.spec.encoding;
        let largest = largest_record(encoding.max_frame_bytes, encoding.format);
        let topic = &camera.spec.topic;
        match runtime.block_on(topics::ensure(&camera.connection, secrets, topic, largest)) {
            Ok(report) if report.created => say(format_args!("{}: made topic {}", camera.name, topic.name)),
            Ok(_) => {}
            Err(fault) => {
                say(format_args!("{}: {}", camera.name, fault.message));
                return false;
            }
        }
        true
    };
    plan.cameras.iter().map(make).fold(true, |all, made| all & made)
}

fn ask(connection: &Connection, plan: &Plan, secrets: &Secrets, wanted: &[String]) -> Result<Vec<Row>, KafkaFault> {
    // A group that nobody joins: its commits are not asked for.
    let reader = TopicReader::open(connection, secrets, "edgereel-topics")?;
    let is_wanted = |topic: &Described| match wanted {
        [] => !topic.name.starts_with("__"),
        wanted => wanted.contains(&topic.name),
    };
    let mut rows = vec![];
    for topic in reader.topics()?.into_iter().filter(is_wanted) {
        let mut offsets = vec![];
        for partition in topic.partitions.iter() {
            offsets.push(match partition.leader {
                Some(_) => reader.watermarks(&topic.name, partition.partition)?,
                // Nobody could answer.
                None => (0, 0),
            });
        }
        let used_by = used_by(plan, connection, &topic.name);
        let records = offsets.iter().map(|(low, high)| high - low).sum();
        rows.push(Row { kafka: connection.name.to_string(), topic, offsets, records, used_by });
    }
    Ok(rows)
}

fn used_by(plan: &Plan, connection: &Connection, topic: &str) -> Vec<String> {
    use edgereel_crds::name::Kind;
    let cameras = plan.cameras.iter().filter(|camera| camera.connection.name == connection.name);
    let cameras = cameras.filter(|camera| camera.spec.topic.name == topic);
    let sinks = plan.sinks.iter().filter(|sink| sink.connection.name == connection.name);
    let sinks = sinks.filter(|sink| sink.topics.iter().any(|name| name == topic));
    let cameras = cameras.map(|camera| Kind::CameraStream.label(&camera.name));
    cameras.chain(sinks.map(|sink| Kind::FrameSink.label(&sink.name))).collect()
}

fn listed(rows: &[Row]) -> String {
    use Side::{Left, Right};
    let heads = [
        ("KAFKA", Left),
        ("TOPIC", Left),
        ("PARTITIONS", Right),
        ("COPIES", Right),
        ("RECORDS", Right),
        ("USED BY", Left),
    ];
    let row = |row: &Row| {
        let copies = row.topic.partitions.iter().map(|p| p.replicas.len()).min().unwrap_or(0);
        let Row { kafka, topic, records, used_by, .. } = row;
        let counts = [topic.partitions.len().to_string(), copies.to_string(), records.to_string()];
        [kafka.clone(), topic.name.clone()].into_iter().chain(counts).chain([used_by.join(", ")]).collect()
    };
    table(&heads, &rows.iter().map(row).collect::<Vec<_>>())
}

fn described(rows: &[Row]) -> String {
    use Side::{Left, Right};
    let heads = [
        ("KAFKA", Left),
        ("TOPIC", Left),
        ("PARTITION", Right),
        ("LEADER", Right),
        ("REPLICAS", Left),
        ("IN SYNC", Left),
        ("FIRST", Right),
        ("END", Right),
        ("RECORDS", Right),
    ];
    let ids = |ids: &[i32]| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let mut lines = vec![];
    for row in rows {
        for (partition, (low, high)) in row.topic.partitions.iter().zip(&row.offsets) {
            lines.push(vec![
                row.kafka.clone(),
                row.topic.name.clone(),
                partition.partition.to_string(),
                partition.leader.map_or_else(|| "none".to_owned(), |leader| leader.to_string()),
                ids(&partition.replicas),
                ids(&partition.in_sync),
                low.to_string(),
                high.to_string(),
                (high - low).to_string(),
            ]);
        }
    }
    table(&heads, &lines)
}
