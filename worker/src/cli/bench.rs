//! `edgereel bench`: what a Kafka cluster takes and gives.

use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::ValueEnum;
use edgereel_crds::{
    camera_stream::{self, Compression},
    document::Reading,
    plan::{Connection, Plan},
    units,
};
use edgereel_runtime::{
    cli::{
        log::{self, Lines, LogFormat},
        signals,
    },
    command::{
        documents::{print_problems, read_documents},
        place::{Loaded, Place},
        say,
    },
    plain::plain,
};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{
    Format,
    columns::{Side, table},
    print_as,
};
use crate::{
    bench::{
        self, Outcome, TOPIC, Wish,
        payload::{Form, Payload},
        plot,
        results::{Row, write_csv, write_whole},
        setting::{self, Asked, Setting},
    },
    synthetic::parse_size,
};

/// The scripts' name for the results, and ours for their picture.
const CSV: &str = "kafka_performance_results.csv";
const SVG: &str = "kafka_performance_results.svg";
/// As of any command that Ctrl-C has ended.
const INTERRUPTED: u8 = 130;

/// How `edgereel bench` is called.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    of: Of,
}

#[derive(Debug, clap::Subcommand)]
enum Of {
    /// Send records to a topic of its own, read them back, and say how fast that was.
    #[command(after_help = EXAMPLES)]
    Kafka(Kafka),
}

/// How `edgereel bench kafka` is called.
#[derive(Debug, clap::Args)]
struct Kafka {
    /// The brokers, as HOST:PORT, without TLS and login. `-f` takes a KafkaConnection with them.
    #[arg(long, value_name = "HOST:PORT,…", required_unless_present = "files", conflicts_with = "files")]
    bootstrap_servers: Option<String>,
    /// Files or directories with a KafkaConnection (YAML or JSON; `-` is standard input).
    #[arg(short = 'f', long = "filename", num_args = 1.., value_name = "FILE|DIR")]
    files: Vec<PathBuf>,
    /// Where secrets are: `secretRef {name, key}` is read at DIR/name/key.
    #[arg(long, value_name = "DIR")]
    secrets_dir: Option<PathBuf>,
    /// The KafkaConnection, where the files have several (NAME or namespace/NAME).
    #[arg(long, value_name = "NAME", requires = "files")]
    connection: Option<String>,
    /// Measure each combination of the values given below; of none, the five configurations of the Python scripts.
    #[arg(long)]
    sweep: bool,
    /// The largest batch. A camera's: 1Mi.
    #[arg(long, value_name = "SIZE,…", value_delimiter = ',')]
    batch_size: Vec<units::ByteSize>,
    /// How long a record waits for others. A camera's: 0ms.
    #[arg(long, value_name = "DURATION,…", value_delimiter = ',')]
    linger: Vec<units::Duration>,
    /// The batches' compression: none, gzip, snappy, lz4, zstd. A camera's: none.
    #[arg(long, value_name = "CODEC,…", value_delimiter = ',', value_parser = setting::compression)]
    compression: Vec<Compression>,
    /// The topic's partitions; 4 unless given.
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = clap::value_parser!(i32).range(1..=1000))]
    partitions: Vec<i32>,
    /// How many records for each configuration.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    records: u64,
    /// Send the pictures of this folder, again and again; without it, made ones.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["size", "frame_bytes"])]
    images: Option<PathBuf>,
    /// Width x height of a made picture in pixels: multiples of 16 from 64 to 7680.
    #[arg(long, value_name = "WxH", default_value = "1280x720", value_parser = parse_size)]
    size: (u16, u16),
    /// About how large a made picture is.
    #[arg(long, value_name = "SIZE", default_value = "85k")]
    frame_bytes: units::ByteSize,
    /// A record's value: the Python scripts' JSON with the picture in base64, or the picture.
    #[arg(long, value_enum, default_value_t)]
    payload: Form,
    /// Whose acknowledgement counts: that of all in-sync replicas, or of the partition's leader alone.
    #[arg(long, value_enum, default_value_t)]
    acks: Acks,
    /// Copies of the topic; the brokers' default unless given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=100))]
    replication_factor: Option<i32>,
    /// Where kafka_performance_results.csv and .svg go.
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    output: PathBuf,
    /// Replace results that are there.
    #[arg(long)]
    overwrite: bool,
    /// How the results are printed.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Whose acknowledgement counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Acks {
    #[default]
    All,
    Leader,
}

const EXAMPLES: &str = "\
Examples:
  edgereel bench kafka --sweep --bootstrap-servers 127.0.0.1:9092
          the five configurations of the Python scripts
  edgereel bench kafka --sweep -f lab/ --images Labeled_Images/
          a cluster with TLS and a login, and pictures of one's own
  edgereel bench kafka --sweep -f lab/ --linger 0ms,5ms \\
                       --compression none,zstd --partitions 3,12
          eight configurations
  edgereel bench kafka -f lab/ --payload image --frame-bytes 100k
          one: that of a camera

Each configuration has a topic of its own, edgereel-bench-…, which is deleted
afterwards, after Ctrl-C too; no other topic is touched. All records are sent,
and then read back. The user needs Create, Write, Read and Delete on topics
named so, and Read on the consumer group edgereel-bench, which nobody joins.

Results: kafka_performance_results.csv, and a plot of it (.svg). Throughput is
in messages a second, latency in seconds a message, the one being the other's
inverse.

Exit status: 0 when all was measured, 2 when not, 130 when it was interrupted.
What was measured until then is written in any case.";

/// Runs the command.
pub fn run(Args { of: Of::Kafka(args) }: Args) -> ExitCode {
    if let Err(message) = log::start(LogFormat::Text, "off", Lines::new(None)) {
        say(message);
    }
    let loaded = match args.load() {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    match prepared(&args, loaded) {
        Ok((wish, settings)) => measured(&args, &wish, &settings),
        Err(message) => {
            say(message);
            ExitCode::from(2)
        }
    }
}

impl Kafka {
    fn load(&self) -> Result<Loaded, ExitCode> {
        let secrets_dir = self.secrets_dir.clone();
        let place = Place { files: self.files.clone(), storage_root: None, secrets_dir };
        let documents = match &self.bootstrap_servers {
            // As in a file, so that it is checked as there.
            Some(servers) => {
                let servers: Vec<&str> = servers.split(',').collect();
                let connection = json!({
                    "apiVersion": "edgereel.dev/v1alpha1",
                    "kind": "KafkaConnection",
                    "metadata": {"name": "command-line"},
                    "spec": {"bootstrapServers": servers},
                });
                Ok(vec![("--bootstrap-servers".to_owned(), connection.to_string())])
            }
            None => read_documents(&self.files),
        };
        let loaded = documents.and_then(|documents| place.load_texts(Reading::Strict, documents));
        loaded.map_err(|problems| {
            print_problems(&problems);
            ExitCode::from(2)
        })
    }

    fn payload(&self) -> Result<Payload, String> {
        match &self.images {
            Some(folder) => Payload::of_folder(folder, self.payload),
            None => Payload::made(self.size, self.frame_bytes.as_usize(), self.payload),
        }
    }
}

/// What is to be measured; nothing is asked of Kafka yet.
fn prepared(args: &Kafka, loaded: Loaded) -> Result<(Wish, Vec<Setting>), String> {
    let Kafka { batch_size, linger, compression, partitions, .. } = args;
    let asked = Asked {
        batch: batch_size.clone(),
        linger: linger.clone(),
        compression: compression.clone(),
        partitions: partitions.clone(),
    };
    let settings = if args.sweep { asked.sweep() } else { vec![asked.single()?] };
    let connection = connection(&loaded.plan, args.connection.as_deref())?.clone();
    writable(&args.output, args.overwrite)?;
    let wish = Wish {
        connection,
        secrets: loaded.secrets,
        payload: Arc::new(args.payload()?),
        records: args.records,
        acks: match args.acks {
            Acks::All => camera_stream::Acks::All,
            Acks::Leader => camera_stream::Acks::Leader,
        },
        replication_factor: args.replication_factor,
    };
    Ok((wish, settings))
}

fn connection<'a>(plan: &'a Plan, wanted: Option<&str>) -> Result<&'a Connection, String> {
    let is_wanted = |c: &&Connection| wanted.is_none_or(|wanted| c.name.name == wanted || c.name.to_string() == wanted);
    let found: Vec<&Connection> = plan.connections.iter().filter(is_wanted).collect();
    match (&found[..], wanted) {
        ([one], _) => Ok(one),
        ([], None) => Err("no KafkaConnection in the files: nothing says which Kafka to measure".into()),
        ([], Some(wanted)) => Err(format!("there is no KafkaConnection `{wanted}` in the files")),
        (several, _) => {
            let names: Vec<String> = several.iter().map(|connection| connection.name.to_string()).collect();
            Err(format!("the files have several KafkaConnections: name one with `--connection`: {}", names.join(", ")))
        }
    }
}

/// Whether the results can be written, before minutes are spent on them.
fn writable(folder: &Path, overwrite: bool) -> Result<(), String> {
    std::fs::create_dir_all(folder).map_err(|e| format!("cannot make {}: {}", folder.display(), plain(e)))?;
    let there = [CSV, SVG].map(|name| folder.join(name)).into_iter().find(|path| path.exists());
    if let Some(path) = there.filter(|_| !overwrite) {
        return Err(format!(
            "{} is there: move it away, name another folder with `--output`, or give `--overwrite`",
            path.display()
        ));
    }
    let trial = folder.join(".edgereel-bench");
    let tried = std::fs::write(&trial, b"").and_then(|()| std::fs::remove_file(&trial));
    tried.map_err(|e| format!("cannot write to {}: {}", folder.display(), plain(e)))
}

/// Measures all, and writes what was found.
fn measured(args: &Kafka, wish: &Wish, settings: &[Setting]) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            say(format_args!("no runtime to measure with: {}", plain(e)));
            return ExitCode::from(2);
        }
    };
    let mut rows = vec![];
    let ended = runtime.block_on(sweep(args, wish, settings, &mut rows));
    // What was told to stop may wait for brokers still.
    runtime.shutdown_background();
    let printed = print_as(args.format, &rows, shown);
    match ended {
        Ok(true) => printed,
        Ok(false) => ExitCode::from(INTERRUPTED),
        Err(message) => {
            say(message);
            ExitCode::from(2)
        }
    }
}

/// Measures one setting after the other. Whether it came to the end.
async fn sweep(args: &Kafka, wish: &Wish, settings: &[Setting], rows: &mut Vec<Row>) -> Result<bool, String> {
    let shutdown = CancellationToken::new();
    signals::watch(shutdown.clone(), Arc::new(Notify::new())).map_err(|e| format!("{e:#}"))?;
    let terminal = std::io::stderr().is_terminal();
    let each = wish.records * 2;
    let total = each * settings.len() as u64;
    let bar = if terminal { ProgressBar::new(total) } else { ProgressBar::hidden() };
    let style = ProgressStyle::with_template("{msg}\n{wide_bar} {percent} %, {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(200));
    // No topic of a run that goes on beside this one.
    let run: u64 = rand::random();
    let mut whole = true;
    for (n, setting) in settings.iter().enumerate() {
        bar.set_message(format!("{} of {}: {setting}", n + 1, settings.len()));
        let progress = {
            let (bar, before) = (bar.clone(), each * n as u64);
            Arc::new(move |done| bar.set_position(before + done))
        };
        let topic = format!("{TOPIC}{run:016x}-{}", n + 1);
        let Outcome { found, left } = bench::measure(wish, setting, &topic, &shutdown, progress).await;
        let line = |words: String| bar.suspend(|| say(words));
        if let Some(fault) = left {
            line(format!("topic {topic} could not be deleted: delete it by hand. {}", fault.message));
        }
        match found {
            Ok(Some(row)) => {
                if !terminal {
                    line(format!("{} of {}: {}", n + 1, settings.len(), words(&row)));
                }
                rows.push(row);
                write(&args.output, rows)?;
            }
            Ok(None) => whole = false,
            Err(fault) => {
                bar.finish_and_clear();
                return Err(fault.message);
            }
        }
        if shutdown.is_cancelled() {
            whole &= n + 1 == settings.len();
            break;
        }
    }
    bar.finish_and_clear();
    Ok(whole)
}

fn write(folder: &Path, rows: &[Row]) -> Result<(), String> {
    let (csv, svg) = (folder.join(CSV), folder.join(SVG));
    let told = |path: &Path, e| format!("cannot write {}: {}", path.display(), plain(e));
    write_csv(&csv, rows).map_err(|e| told(&csv, e))?;
    write_whole(&svg, plot::svg(rows).as_bytes()).map_err(|e| told(&svg, e))
}

fn words(row: &Row) -> String {
    let (produced, consumed) = (row.producer_throughput(), row.consumer_throughput());
    format!("{}: {produced:.1} messages/s sent, {consumed:.1} messages/s read", row.setting)
}

fn shown(rows: &[Row]) -> String {
    use Side::Right;
    let heads = [
        ("BATCH", Right),
        ("LINGER", Right),
        ("COMPRESSION", Side::Left),
        ("PARTITIONS", Right),
        ("SENT/S", Right),
        ("MB/S", Right),
        ("READ/S", Right),
        ("MB/S", Right),
        ("LAG", Right),
    ];
    let row = |row: &Row| {
        let Setting { batch, partitions, compression, .. } = &row.setting;
        let (sent, read) = row.megabytes();
        vec![
            batch.0.to_string(),
            format!("{} ms", row.setting.linger_ms()),
            setting::codec(*compression).to_owned(),
            partitions.to_string(),
            format!("{:.1}", row.producer_throughput()),
            format!("{sent:.1}"),
            format!("{:.1}", row.consumer_throughput()),
            format!("{read:.1}"),
            row.lag.to_string(),
        ]
    };
    table(&heads, &rows.iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use edgereel_crds::load;

    use super::*;

    #[test]
    fn the_cluster_is_the_one_of_the_files_or_the_one_that_is_named() {
        let document = |name: &str| {
            let text = format!(
                "{{apiVersion: edgereel.dev/v1alpha1, kind: KafkaConnection, metadata: {{name: {name}}}, spec: \
                 {{bootstrapServers: ['a:9092']}}}}"
            );
            (format!("{name}.yaml"), text)
        };
        let of = |names: &[&str], wanted| {
            let plan = load(&names.iter().map(|name| document(name)).collect::<Vec<_>>()).expect("sound");
            connection(&plan, wanted).map(|connection| connection.name.name.clone())
        };
        assert_eq!(of(&["lab"], None), Ok("lab".into()));
        assert_eq!(of(&["lab", "far"], Some("far")), Ok("far".into()));
        assert_eq!(of(&["lab", "far"], Some("default/lab")), Ok("lab".into()));
        assert!(of(&["lab", "far"], None).expect_err("two").ends_with("`--connection`: default/lab, default/far"));
        assert!(of(&["lab"], Some("far")).expect_err("another").contains("no KafkaConnection `far`"));
        assert!(of(&[], None).expect_err("none").starts_with("no KafkaConnection in the files"));
    }

    #[test]
    fn results_that_are_there_are_kept_unless_it_is_said_otherwise() {
        let folder = tempfile::tempdir().expect("a folder");
        let new = folder.path().join("new");
        assert_eq!(writable(&new, false), Ok(()));
        std::fs::write(new.join(CSV), "mine").expect("written");
        assert!(writable(&new, false).expect_err("there").contains("--overwrite"));
        assert_eq!(writable(&new, true), Ok(()));
        assert_eq!(std::fs::read_to_string(new.join(CSV)).expect("there"), "mine");
        let file = writable(&new.join(CSV), false).expect_err("a file");
        assert!(file.starts_with("cannot make "), "{file}");
    }
}
