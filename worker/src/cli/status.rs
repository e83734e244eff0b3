//! `edgereel status`: every stream and sink in one table, of a process on this machine or of a cluster.

use std::{
    io::{self, IsTerminal, Write},
    process::{Command, ExitCode},
    time::Duration,
};

use edgereel_crds::{
    status::{ConditionStatus, ConditionType},
    worker_status::{ResourceReport, WorkerStatus},
};
use edgereel_runtime::{command::say, plain::plain, sibling::client::Client};
use serde::Serialize;
use serde_json::Value;

use super::{
    Format,
    columns::{Side, table},
    print_as,
};

/// From one table to the next.
const EVERY: Duration = Duration::from_secs(2);
/// Goes to the first line and clears the rest of the screen.
const HOME: &str = "\x1b[H\x1b[J";

/// How `edgereel status` is called.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Where `edgereel run` serves (its `--http`).
    #[arg(long, value_name = "ADDRESS", default_value = "localhost:9464")]
    http: String,
    /// The cameras and sinks of the cluster that `kubectl` talks to, instead of a process on this machine.
    #[arg(short = 'k', long, conflicts_with = "http")]
    kubernetes: bool,
    /// With `--kubernetes`: this namespace alone. Without it, all.
    #[arg(short = 'n', long, value_name = "NAMESPACE", requires = "kubernetes")]
    namespace: Option<String>,
    /// With `--kubernetes`: kubectl's context.
    #[arg(long, value_name = "CONTEXT", requires = "kubernetes")]
    context: Option<String>,
    /// Show it again and again, until Ctrl-C.
    #[arg(short = 'w', long)]
    watch: bool,
    /// How it is printed.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  edgereel status                      what `edgereel run` on this machine does
  edgereel status --watch              again every two seconds
  edgereel status --http edge-1:9464   of another machine
  edgereel status -k -n lab            of a cluster, through kubectl
  edgereel status --format json | jq '.[] | select(.ready | not)'

Exit status: 0 when everything is ready (suspended counts), 1 when something is
not, 2 when it could not be found out.";

/// One camera or sink.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    /// `KIND/NAME`, with the namespace where it is not `default`.
    resource: String,
    ready: bool,
    /// Why it is as it is.
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fps: Option<f64>,
    /// Frames that are safe: acknowledged by Kafka, or written.
    #[serde(skip_serializing_if = "Option::is_none")]
    stored: Option<i64>,
    /// Records that are not committed.
    #[serde(skip_serializing_if = "Option::is_none")]
    lag: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dropped: Option<i64>,
    /// How full the disk is, as in `63%`.
    #[serde(skip_serializing_if = "Option::is_none")]
    disk: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    /// The last error, or what it waits for.
    #[serde(skip_serializing_if = "String::is_empty")]
    message: String,
}

/// Runs the command.
pub fn run(args: Args) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            say(format_args!("no runtime to ask with: {}", plain(e)));
            return ExitCode::from(2);
        }
    };
    let client = Client::new(args.http.clone());
    let look = || match args.kubernetes {
        true => of_cluster(&args),
        false => runtime
            .block_on(client.status())
            .map(|status| of_process(&status))
            .map_err(|e| format!("{e}; is `edgereel run` at work, and does it serve there (`--http`)?")),
    };
    loop {
        let lines = look();
        if args.watch && io::stdout().is_terminal() {
            let _ = write!(io::stdout(), "{HOME}");
        }
        let code = match lines {
            Ok(lines) => {
                let all = lines.iter().all(|line| line.ready || line.reason == "Suspended");
                match print_as(args.format, &lines, shown) {
                    ExitCode::SUCCESS if !all => ExitCode::FAILURE,
                    printed => printed,
                }
            }
            Err(message) => {
                say(message);
                ExitCode::from(2)
            }
        };
        if !args.watch {
            return code;
        }
        std::thread::sleep(EVERY);
    }
}

fn of_process(status: &WorkerStatus) -> Vec<Line> {
    status.resources.iter().map(of_report).collect()
}

fn of_report(report: &ResourceReport) -> Line {
    let ready = report.conditions.iter().find(|condition| condition.kind == ConditionType::Ready);
    let is_ready = ready.is_some_and(|ready| ready.status == ConditionStatus::True);
    let overview = report.overview.clone().unwrap_or_default();
    let used = report
        .figures
        .number("diskSizeBytes")
        .filter(|size| *size > 0.0)
        .and_then(|size| Some(format!("{:.0}%", 100.0 * (1.0 - report.figures.number("diskFreeBytes")? / size))));
    let error = report.last_error.as_ref().filter(|_| !is_ready).map(|error| error.message.clone());
    let waits = ready.filter(|ready| !is_ready || ends(ready.reason.as_str())).map(|ready| ready.message.clone());
    Line {
        resource: label(&report.kind, &report.namespace, &report.name),
        ready: is_ready,
        reason: ready.map_or("Starting", |ready| ready.reason.as_str()).to_owned(),
        fps: report.figures.number("fps"),
        stored: Some(i64::try_from(overview.safe).unwrap_or(i64::MAX)),
        lag: overview.lag,
        dropped: Some(i64::try_from(overview.dropped_total()).unwrap_or(i64::MAX)),
        disk: used,
        node: None,
        message: error.or(waits).unwrap_or_default(),
    }
}

/// Whether it is said of what has an end, and worth reading while all is well.
fn ends(reason: &str) -> bool {
    ["Completed", "Scheduled"].contains(&reason)
}

fn label(kind: &str, namespace: &str, name: &str) -> String {
    match namespace {
        "default" => format!("{kind}/{name}"),
        namespace => format!("{kind}/{namespace}/{name}"),
    }
}

/// Asks kubectl, which knows contexts, logins and proxies.
fn of_cluster(args: &Args) -> Result<Vec<Line>, String> {
    let mut kubectl = Command::new("kubectl");
    kubectl.args(["get", "camerastreams.edgereel.dev,framesinks.edgereel.dev", "--output=json"]);
    match &args.namespace {
        Some(namespace) => kubectl.args(["--namespace", namespace]),
        None => kubectl.arg("--all-namespaces"),
    };
    kubectl.args(args.context.iter().map(|context| format!("--context={context}")));
    let answer = kubectl.output().map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => "there is no `kubectl` on this machine, which --kubernetes needs".to_owned(),
        _ => format!("kubectl cannot be run: {}", plain(e)),
    })?;
    if !answer.status.success() {
        return Err(format!("kubectl: {}", String::from_utf8_lossy(&answer.stderr).trim()));
    }
    let list: Value = serde_json::from_slice(&answer.stdout).map_err(|e| format!("kubectl answered no JSON: {e}"))?;
    Ok(list["items"].as_array().into_iter().flatten().map(of_object).collect())
}

/// A resource as the API server has it.
fn of_object(object: &Value) -> Line {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (meta, status) = (&object["metadata"], &object["status"]);
    let conditions = status["conditions"].as_array();
    let ready = conditions.and_then(|all| all.iter().find(|condition| condition["type"] == "Ready"));
    // A verdict on a former generation is none on this one.
    let is_current = status["observedGeneration"] == meta["generation"];
    let is_ready = is_current && ready.is_some_and(|ready| ready["status"] == "True");
    let reason = match ready {
        Some(ready) if is_current => text(&ready["reason"]),
        Some(_) => "RolloutInProgress".to_owned(),
        None => "Unknown".to_owned(),
    };
    let message = match ready {
        _ if is_ready && !ends(&reason) => String::new(),
        Some(ready) => text(&ready["message"]),
        None => "no status yet: does the operator run, and watch this namespace?".to_owned(),
    };
    Line {
        resource: label(&text(&object["kind"]), &text(&meta["namespace"]), &text(&meta["name"])),
        ready: is_ready,
        reason,
        fps: status["fps"].as_f64(),
        stored: status["framesAcknowledged"].as_i64().or(status["framesStored"].as_i64()),
        lag: status["lagRecords"].as_i64(),
        dropped: status["framesDropped"].as_i64(),
        disk: status["diskUsed"].as_str().map(str::to_owned),
        node: status["node"].as_str().map(str::to_owned),
        message,
    }
}

fn shown(lines: &[Line]) -> String {
    use Side::{Left, Right};
    if lines.is_empty() {
        return "no cameras and no sinks\n".to_owned();
    }
    let heads = [
        ("RESOURCE", Left),
        ("STATE", Left),
        ("FPS", Right),
        ("STORED", Right),
        ("LAG", Right),
        ("DROPPED", Right),
        ("DISK", Right),
        ("NODE", Left),
        ("MESSAGE", Left),
    ];
    let or_dash = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let row = |line: &Line| {
        let dash = || "-".to_owned();
        vec![
            line.resource.clone(),
            if line.ready && !ends(&line.reason) { "Ready".to_owned() } else { line.reason.clone() },
            line.fps.map_or_else(dash, |fps| format!("{fps:.1}")),
            or_dash(line.stored),
            or_dash(line.lag),
            or_dash(line.dropped),
            line.disk.clone().unwrap_or_else(dash),
            line.node.clone().unwrap_or_else(dash),
            line.message.replace(|c: char| c.is_control(), " "),
        ]
    };
    let (mut heads, mut rows) = (heads.to_vec(), lines.iter().map(row).collect::<Vec<_>>());
    // A machine of one's own has no nodes.
    if lines.iter().all(|line| line.node.is_none()) {
        heads.remove(7);
        rows.iter_mut().for_each(|row| drop(row.remove(7)));
    }
    table(&heads, &rows)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(generation: i64, status: Value) -> Value {
        json!({
            "kind": "FrameSink", "metadata": {"name": "gate", "namespace": "lab", "generation": generation},
            "status": status,
        })
    }

    #[test]
    fn an_object_of_a_cluster_is_ready_if_its_present_generation_is() {
        let ready = json!({"observedGeneration": 2, "fps": 9.96, "framesStored": 7, "lagRecords": 0, "diskUsed": "63%",
            "node": "edge-1", "conditions": [{"type": "Ready", "status": "True", "reason": "Running", "message": "x"}]});
        let line = of_object(&object(2, ready.clone()));
        assert_eq!((line.resource.as_str(), line.ready, line.message.as_str()), ("FrameSink/lab/gate", true, ""));
        assert_eq!(
            shown(&[line]),
            "RESOURCE            STATE   FPS  STORED  LAG  DROPPED  DISK  NODE    MESSAGE\n\
             FrameSink/lab/gate  Ready  10.0       7    0        -   63%  edge-1\n"
        );
        let line = of_object(&object(3, ready));
        assert_eq!((line.ready, line.reason.as_str()), (false, "RolloutInProgress"));
        let line = of_object(&object(1, json!(null)));
        assert!(!line.ready && line.message.contains("operator"), "{line:?}");
    }

    #[test]
    fn where_nothing_has_a_node_there_is_no_such_column() {
        let line = Line { resource: "CameraStream/gate".into(), reason: "CameraUnreachable".into(), ..Line::default() };
        let text = shown(&[line]);
        assert!(text.contains("CameraUnreachable") && !text.contains("NODE"), "{text}");
        assert_eq!(shown(&[]), "no cameras and no sinks\n");
    }
}
