//! What came of the demo: two tables, where the files lie, and whether a frame is missing.

use std::{fmt, path::PathBuf};

use console::style;
use edgereel_tests::metrics::Metrics;
use serde_json::Value;

use crate::lab::Sink;

/// A camera's figures.
#[derive(Clone, Debug)]
pub struct StreamLine {
    name: String,
    captured: u64,
    /// Above the wanted rate, left out on purpose.
    paced: u64,
    dropped: u64,
    /// Records in the topic: the broker's own count.
    acknowledged: u64,
    fps: f64,
    p50: Option<f64>,
    p99: Option<f64>,
    megabytes: f64,
}

impl StreamLine {
    /// The figures of a stream that ran for so many seconds.
    pub fn new(name: &str, metrics: &Metrics, acknowledged: u64, seconds: f64) -> Self {
        let latency = metrics.histogram("camera_capture_to_acknowledged_seconds", name);
        let paced = metrics.sum("camera_frames_dropped_total", &[("name", name), ("reason", "pacing")]) as u64;
        StreamLine {
            name: name.into(),
            captured: metrics.count("camera_frames_captured", name),
            paced,
            dropped: metrics.count("camera_frames_dropped", name) - paced,
            acknowledged,
            fps: acknowledged as f64 / seconds,
            p50: latency.quantile(0.5),
            p99: latency.quantile(0.99),
            megabytes: metrics.sum("camera_captured_bytes_total", &[("name", name)]) / 1e6,
        }
    }
}

/// A sink's figures.
#[derive(Clone, Debug)]
pub struct SinkLine {
    name: String,
    records: u64,
    stored: u64,
    /// Left out of a video to keep real time; its CSV names them.
    left_out: u64,
    /// Committed, and not there (or not whole, or twice).
    wrong: u64,
    p50: Option<f64>,
    p99: Option<f64>,
    /// With the catching up after the crash.
    p99_after: Option<f64>,
    megabytes: f64,
    directory: PathBuf,
}

impl SinkLine {
    /// The figures of a sink, from its verification and from both of its lives.
    pub fn new(sink: &Sink, report: Option<&Value>, before: &Metrics, after: &Metrics) -> Self {
        let number = |key: &str| report.and_then(|r| r[key].as_u64()).unwrap_or_default();
        let latency = |m: &Metrics| m.histogram("sink_capture_to_file_seconds", &sink.name);
        SinkLine {
            name: sink.name.clone(),
            records: number("records"),
            stored: number("present"),
            left_out: number("leftOut"),
            wrong: report.and_then(|r| r["findings"].as_array()).map_or(1, |f| f.len() as u64),
            p50: latency(before).quantile(0.5),
            p99: latency(before).quantile(0.99),
            p99_after: latency(after).quantile(0.99),
            megabytes: crate::show::bytes_below(&sink.directory) as f64 / 1e6,
            directory: sink.directory.clone(),
        }
    }

    /// Records without a frame on the disk; a picture that a video left out on purpose is none.
    fn missing(&self) -> u64 {
        self.records.saturating_sub(self.stored + self.left_out)
    }

    fn is_good(&self) -> bool {
        self.missing() == 0 && self.wrong == 0 && self.stored > 0
    }
}

/// All figures.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// A line a camera.
    pub streams: Vec<StreamLine>,
    /// A line a sink.
    pub sinks: Vec<SinkLine>,
    /// Whether `edgereel verify` found nothing wrong.
    pub verified: bool,
    /// Where the logs are.
    pub logs: PathBuf,
    /// Where the resources are.
    pub resources: PathBuf,
}

impl Outcome {
    /// Whether nothing is missing and every sink stored frames.
    pub fn is_good(&self) -> bool {
        self.verified && self.streams.iter().all(|s| s.acknowledged > 0) && self.sinks.iter().all(SinkLine::is_good)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["camera", "captured", "acknowledged", "paced out", "dropped", "fps", "p50", "p99", "MB"];
        let row = |s: &StreamLine| {
            let counts = [s.captured, s.acknowledged, s.paced, s.dropped].map(|n| n.to_string());
            let rest = [format!("{:.1}", s.fps), ms(s.p50), ms(s.p99), format!("{:.1}", s.megabytes)];
            [vec![s.name.clone()], counts.to_vec(), rest.to_vec()].concat()
        };
        writeln!(f, "\n{}", table(&head, self.streams.iter().map(row).collect()))?;
        let head = ["sink", "records", "stored", "left out", "missing", "wrong", "p50", "p99", "p99 after crash", "MB"];
        let row = |s: &SinkLine| {
            let counts = [s.records, s.stored, s.left_out, s.missing(), s.wrong].map(|n| n.to_string());
            let rest = [ms(s.p50), ms(s.p99), ms(s.p99_after), format!("{:.1}", s.megabytes)];
            [vec![s.name.clone()], counts.to_vec(), rest.to_vec()].concat()
        };
        writeln!(f, "{}", table(&head, self.sinks.iter().map(row).collect()))?;
        writeln!(f, "Latencies: capture to acknowledged (cameras), capture to the bytes in their file (sinks).")?;
        writeln!(f, "Left out: pictures that a real-time video skips; its CSV names each of them.\n")?;
        for sink in &self.sinks {
            writeln!(f, "{:<22} {}", sink.name, sink.directory.display())?;
        }
        writeln!(f, "{:<22} {}", "resources", self.resources.display())?;
        writeln!(f, "{:<22} {}", "logs", self.logs.display())?;
        writeln!(f, "Look at a video with ffplay or mpv, at the frames with any viewer.\n")?;
        if self.is_good() {
            writeln!(f, "{}", style("Nothing is missing.").green().bold())
        } else {
            writeln!(
                f,
                "{} edgereel verify -f {}/sinks.yaml",
                style("NOT GOOD:").red().bold(),
                self.resources.display()
            )
        }
    }
}

fn ms(seconds: Option<f64>) -> String {
    seconds.map_or("–".into(), |s| format!("{:.0} ms", s * 1e3))
}

/// Columns as wide as they need; the first to the left, figures to the right.
fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let lines: Vec<Vec<String>> = [vec![head.iter().map(|h| (*h).to_owned()).collect()], rows].concat();
    let width = |column: usize| lines.iter().map(|l| l[column].chars().count()).max().unwrap_or(0);
    let cell = |(column, text): (usize, &String)| {
        let width = width(column);
        if column == 0 { format!("{text:<width$}") } else { format!("{text:>width$}") }
    };
    let line = |l: &Vec<String>| l.iter().enumerate().map(cell).collect::<Vec<_>>().join("  ") + "\n";
    lines.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn outcome(report: Value, verified: bool) -> Outcome {
        let sink = Sink { name: "s".into(), topic: "t".into(), group: "g".into(), directory: "/nowhere".into() };
        let none = Metrics::default();
        Outcome {
            streams: vec![StreamLine::new("c", &none, 10, 2.0)],
            sinks: vec![SinkLine::new(&sink, Some(&report), &none, &none)],
            verified,
            logs: "/logs".into(),
            resources: "/resources".into(),
        }
    }

    #[test]
    fn one_missing_frame_makes_the_demo_fail() {
        let report =
            |present, left_out| json!({"records": 10, "present": present, "leftOut": left_out, "findings": []});
        assert!(outcome(report(10, 0), true).is_good());
        assert!(outcome(report(8, 2), true).is_good());
        assert!(!outcome(report(9, 0), true).is_good());
        assert!(!outcome(report(10, 0), false).is_good());
        assert!(!outcome(json!({"records": 0, "present": 0, "findings": []}), true).is_good());
        assert!(!outcome(json!({"records": 1, "present": 1, "findings": [{"kind": "torn"}]}), true).is_good());
    }

    #[test]
    fn the_table_lines_its_columns_up() {
        let rows = vec![vec!["long name".into(), "1".into()], vec!["x".into(), "1000000".into()]];
        assert_eq!(table(&["sink", "stored"], rows), "sink        stored\nlong name        1\nx          1000000\n");
    }
}
