//! The live table of `edgereel run` on a terminal, and its plain lines in a pipe.

use std::{borrow::Cow, sync::Arc, time::Duration};

use console::{Style, measure_text_width, truncate_str};
use edgereel_crds::{
    status::{ConditionStatus, ConditionType},
    worker_status::{CameraFigures, Figures, ResourceReport, SinkFigures},
};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tracing::info;

use crate::run::fleet::Fleet;

/// The thresholds of the Python scripts that this replaces: a frame below 60 KB is green, below 100 KB yellow, above red.
const GREEN_BELOW: u64 = 60_000;
const YELLOW_BELOW: u64 = 100_000;
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
            bar.set_message(fit(row(&member.report()), width));
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
            match report.figures {
                Figures::Camera(CameraFigures {
                    fps,
                    frame_bytes,
                    frames_captured,
                    frames_acknowledged,
                    frames_dropped,
                    buffer_bytes,
                    ..
                }) => info!(
                    resource,
                    ready,
                    fps,
                    frame_bytes,
                    frames_captured,
                    frames_acknowledged,
                    frames_dropped,
                    buffer_bytes,
                    "figures"
                ),
                Figures::Sink(SinkFigures {
                    fps,
                    frame_bytes,
                    frames_stored,
                    frames_durable,
                    lag_records,
                    lag_seconds,
                    ..
                }) => {
                    info!(
                        resource,
                        ready, fps, frame_bytes, frames_stored, frames_durable, lag_records, lag_seconds, "figures"
                    )
                }
            }
        }
    }
}

/// One resource's row, with colours.
fn row(status: &ResourceReport) -> String {
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
    match &status.figures {
        Figures::Camera(CameraFigures {
            fps,
            frame_bytes,
            frames_captured,
            frames_acknowledged,
            frames_dropped,
            ..
        }) => {
            let size = size_style(*frame_bytes).apply_to(format!("{:>7}", kilobytes(*frame_bytes)));
            let dropped = colour(*frames_dropped == 0).apply_to(format!("{frames_dropped:>9}"));
            format!(
                "{name} {state} {fps:>6.1} {size} {frames_captured:>10} {frames_acknowledged:>14} {:>8} {dropped}  {error}",
                ""
            )
        }
        Figures::Sink(SinkFigures {
            fps,
            frame_bytes,
            frames_stored,
            lag_records,
            records_dead_lettered,
            records_lost,
            ..
        }) => {
            let size = size_style(*frame_bytes).apply_to(format!("{:>7}", kilobytes(*frame_bytes)));
            let gone = records_dead_lettered + records_lost;
            let gone = colour(gone == 0).apply_to(format!("{gone:>9}"));
            format!("{name} {state} {fps:>6.1} {size} {:>10} {frames_stored:>14} {lag_records:>8} {gone}  {error}", "")
        }
    }
}

fn colour(good: bool) -> Style {
    if good { Style::new().for_stderr().green() } else { Style::new().for_stderr().red() }
}

fn size_style(bytes: u64) -> Style {
    let style = Style::new().for_stderr();
    match bytes {
        0 => style.dim(),
        b if b < GREEN_BELOW => style.green(),
        b if b < YELLOW_BELOW => style.yellow(),
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
        camera.captured.inc_by(1234);
        camera.acknowledged.inc_by(1200);
        let row = row(&Member::new(state, Handles::Camera(camera), None).report());
        let row = console::strip_ansi_codes(&row);
        for (column, value) in [("CAPTURED", "1234"), ("ACKED/STORED", "1200"), ("DROPPED", "0")] {
            let right = HEADER.find(column).expect("a column") + column.len();
            assert!(row[..right].ends_with(&format!(" {value}")), "{column} in\n{HEADER}\n{row}");
        }
        assert_eq!(HEADER.find("LAST ERROR"), row.find("no route"));
    }

    #[test]
    fn sizes_have_the_colours_that_users_know() {
        let painted = |bytes| size_style(bytes).force_styling(true).apply_to("x").to_string();
        assert_eq!(
            [painted(59_999), painted(99_999), painted(100_000)],
            ["\u{1b}[32mx\u{1b}[0m", "\u{1b}[33mx\u{1b}[0m", "\u{1b}[31mx\u{1b}[0m"]
        );
    }
}
