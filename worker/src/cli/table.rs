//! The live table of `edgereel run` on a terminal, and its plain lines in a pipe.

use std::{borrow::Cow, sync::Arc, time::Duration};

use console::{Style, measure_text_width, truncate_str};
use edgereel_crds::{
    status::{ConditionStatus, ConditionType},
    worker_status::{Figures, ResourceReport},
};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tracing::info;

use crate::run::fleet::Fleet;

/// How often a pipe gets a line for each resource.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

const HEADER: &str = "RESOURCE                  STATE                     FPS      KB   CAPTURED   ACKED/STORED      LAG   DROPPED  LAST ERROR";

/// Redraws the table once a second until the future is dropped.
pub async fn draw_forever(fleet: Arc<Fleet>, screen: MultiProgress) {
    // `{msg}` alone is a valid template.
    let style = ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
    let line = || screen.add(ProgressBar::new_spinner().with_style(style.clone()));
    let header = line();
    let rows: Vec<_> = fleet.members.iter().map(|member| (line(), member)).collect();
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        tick.tick().await;
        let width = usize::from(console::Term::stderr().size().1).max(40) - 1;
        header.set_message(truncate_str(HEADER, width, "…").into_owned());
        for (bar, member) in &rows {
            bar.set_message(fit(row(&member.report(), member.warn_frame_bytes), width));
        }
    }
}

fn fit(row: String, width: usize) -> String {
    if measure_text_width(&row) <= width { row } else { truncate_str(&row, width, "…").into_owned() }
}

/// Logs a line for each resource every ten seconds until the future is dropped.
pub async fn log_forever(fleet: Arc<Fleet>) {
    let mut tick = tokio::time::interval(PLAIN_EVERY);
    tick.tick().await; // the first comes at once, before there is anything to say
    loop {
        tick.tick().await;
        for member in &fleet.members {
            let report = member.report();
            let resource = format!("{}/{}/{}", report.kind, report.namespace, report.name);
            let ready = member.state.is_ready();
            let (camera, sink) = match &report.figures {
                Figures::Camera(figures) => (Some(figures), None),
                Figures::Sink(figures) => (None, Some(figures)),
            };
            // A figure that is `None` is left out of the line.
            info!(
                resource,
                ready,
                fps = camera.map_or_else(|| sink.map(|s| s.fps), |c| Some(c.fps)),
                frame_bytes = camera.map_or_else(|| sink.map(|s| s.frame_bytes), |c| Some(c.frame_bytes)),
                frames_captured = camera.map(|c| c.frames_captured),
                frames_acknowledged = camera.map(|c| c.frames_acknowledged),
                frames_dropped = camera.map(|c| c.frames_dropped),
                frames_waiting = camera.and_then(|c| c.frames_waiting),
                buffer_bytes = camera.map(|c| c.buffer_bytes),
                frames_stored = sink.map(|s| s.frames_stored),
                frames_durable = sink.map(|s| s.frames_durable),
                lag_records = sink.and_then(|s| s.lag_records),
                lag_seconds = sink.and_then(|s| s.lag_seconds),
                "figures"
            );
        }
    }
}

/// One resource's row, with colours.
fn row(status: &ResourceReport, warn_frame_bytes: u64) -> String {
    let ready = status.conditions.iter().find(|c| c.kind == ConditionType::Ready);
    let (state, good) = match ready {
        Some(c) if c.status == ConditionStatus::True => (Cow::from("Ready"), true),
        Some(c) => (Cow::from(format!("{:?}", c.reason)), false),
        None => (Cow::from("-"), false),
    };
    let state = colour(good).apply_to(format!("{state:<22}"));
    let name = if status.namespace == "default" {
        status.name.clone()
    } else {
        format!("{}/{}", status.namespace, status.name)
    };
    let name = format!("{:<25}", truncate_str(&name, 25, "…"));
    let error = status.last_error.as_ref().map_or("", |e| e.message.as_str());
    let (fps, bytes, captured, kept, lag, gone) = match &status.figures {
        Figures::Camera(c) => {
            let captured = c.frames_captured.to_string();
            (c.fps, c.frame_bytes, captured, c.frames_acknowledged, String::new(), c.frames_dropped)
        }
        Figures::Sink(s) => {
            let gone = s.records_dead_lettered + s.records_lost;
            let lag = s.lag_records.map_or_else(|| "-".to_owned(), |lag| lag.to_string());
            (s.fps, s.frame_bytes, String::new(), s.frames_stored, lag, gone)
        }
    };
    let size = size_style(bytes, warn_frame_bytes).apply_to(format!("{:>7}", kilobytes(bytes)));
    let gone = colour(gone == 0).apply_to(format!("{gone:>9}"));
    format!("{name} {state} {fps:>6.1} {size} {captured:>10} {kept:>14} {lag:>8} {gone}  {error}")
}

fn colour(good: bool) -> Style {
    if good { Style::new().for_stderr().green() } else { Style::new().for_stderr().red() }
}

/// Red from `encoding.warnFrameBytes` on and yellow from 60 % of it: by default the thresholds of the Python scripts that
/// this replaces, 60 and 100 KB.
fn size_style(bytes: u64, warn: u64) -> Style {
    let style = Style::new().for_stderr();
    match bytes {
        0 => style.dim(),
        b if b < warn / 5 * 3 => style.green(),
        b if b < warn => style.yellow(),
        _ => style.red(),
    }
}

fn kilobytes(bytes: u64) -> String {
    if bytes == 0 { "-".into() } else { format!("{:.1}", bytes as f64 / 1000.0) }
}

#[cfg(test)]
mod tests {
    use edgereel_crds::plan::ObjectName;

    use super::*;
    use crate::{
        metrics::Metrics,
        run::fleet::{Handles, Member},
        state::{Kind, ResourceState},
    };

    #[test]
    fn the_header_stands_above_its_columns() {
        let name = ObjectName { namespace: "default".into(), name: "agricam3".into() };
        let state = ResourceState::new(Kind::CameraStream, name.clone());
        state.note_error("no route to the camera");
        let metrics = Metrics::default();
        let camera = metrics.camera(&name);
        (0..1234).for_each(|_| camera.take_in());
        (0..1200).for_each(|_| camera.acknowledge());
        let row = row(&Member::new(state, Handles::Camera(camera), None).report(), 100_000);
        let row = console::strip_ansi_codes(&row);
        for (column, value) in [("CAPTURED", "1234"), ("ACKED/STORED", "1200"), ("DROPPED", "0")] {
            let right = HEADER.find(column).expect("a column") + column.len();
            assert!(row[..right].ends_with(&format!(" {value}")), "{column} in\n{HEADER}\n{row}");
        }
        assert_eq!(HEADER.find("LAST ERROR"), row.find("no route"));
    }

    #[test]
    fn sizes_have_the_colours_that_users_know() {
        let painted = |bytes| size_style(bytes, 100_000).force_styling(true).apply_to("x").to_string();
        assert_eq!(
            [painted(59_999), painted(99_999), painted(100_000)],
            ["\u{1b}[32mx\u{1b}[0m", "\u{1b}[33mx\u{1b}[0m", "\u{1b}[31mx\u{1b}[0m"]
        );
    }
}
