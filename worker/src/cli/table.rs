//! The live table of `edgereel run` on a terminal, its plain lines in a pipe, and what it says at its end.

mod choice;
mod layout;
mod names;
mod row;
pub mod summary;

use std::{sync::Arc, time::Duration};

use edgereel_crds::worker_status::Figures;
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use self::row::Row;
use super::screen::Screen;
use crate::run::fleet::Fleet;

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
