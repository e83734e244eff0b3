//! The live table of a run on a terminal, its plain lines in a pipe, and what it says at its end.

mod choice;
mod layout;
mod names;
mod row;
pub mod summary;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use self::row::Row;
use crate::{cli::screen::Screen, run::fleet::Fleet};

/// How often a pipe gets a line for each resource.
const PLAIN_EVERY: Duration = Duration::from_secs(60);

/// Redraws the table once a second, and when the terminal gets another size, until the future is dropped.
pub async fn draw_forever(fleet: Arc<Fleet>, screen: Screen) {
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    // Without the signal, another size shows within a second.
    let mut resized = signal(SignalKind::window_change()).ok();
    loop {
        let now = Timestamp::now();
        let rows: Vec<Row> = fleet.members().iter().map(|member| Row::of(member, now)).collect();
        screen.draw(|columns, lines| layout::table(&rows, columns, lines));
        match &mut resized {
            Some(resized) => tokio::select! {
                _ = tick.tick() => {}
                _ = resized.recv() => {}
            },
            None => drop(tick.tick().await),
        }
    }
}

/// Logs a line for each resource every minute until the future is dropped.
pub async fn log_forever(fleet: Arc<Fleet>) {
    let mut tick = tokio::time::interval(PLAIN_EVERY);
    tick.tick().await; // the first comes at once, before there is anything to say
    loop {
        tick.tick().await;
        for member in fleet.members() {
            let report = member.report();
            let resource = format!("{}/{}/{}", report.kind, report.namespace, report.name);
            let overview = report.overview.unwrap_or_default();
            // A figure that is `None` is left out of the line.
            info!(
                resource,
                ready = member.state.is_ready(),
                fps = report.figures.number("fps"),
                frame_bytes = report.figures.uint("frameBytes"),
                captured = overview.came,
                stored = overview.safe,
                lag = overview.lag,
                dropped = overview.dropped_total(),
                "figures"
            );
        }
    }
}
