//! Log lines on standard error: text for people, JSON for collectors; above the live table where there is one.

use std::io::{self, Write};

use clap::ValueEnum;
use tracing_subscriber::{EnvFilter, fmt, fmt::MakeWriter, layer::SubscriberExt, util::SubscriberInitExt};

use super::screen::Screen;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging. `filter` is in the form of `RUST_LOG`. With a table, lines are printed above it.
pub fn start(format: LogFormat, filter: &str, screen: Option<Screen>) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter).map_err(|e| format!("--log-level `{filter}`: {e}"))?;
    let colour = console::colors_enabled_stderr();
    let writer = Writer { screen };
    let registry = tracing_subscriber::registry().with(filter);
    let started = match format {
        LogFormat::Text => {
            registry.with(fmt::layer().with_ansi(colour).with_target(false).with_writer(writer)).try_init()
        }
        LogFormat::Json => registry
            .with(fmt::layer().json().flatten_event(true).with_current_span(false).with_writer(writer))
            .try_init(),
    };
    started.map_err(|e| format!("logging: {e}"))
}

/// Standard error, or the lines above the table.
struct Writer {
    screen: Option<Screen>,
}

/// Collects one event's text and prints it whole.
struct Line<'a> {
    screen: Option<&'a Screen>,
    text: Vec<u8>,
}

impl<'a> MakeWriter<'a> for Writer {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { screen: self.screen.as_ref(), text: Vec::with_capacity(256) }
    }
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        // A terminal or pipe that has gone away must not stop the frames.
        let _ = match self.screen {
            Some(screen) => {
                screen.print(&String::from_utf8_lossy(&self.text));
                Ok(())
            }
            None => io::stderr().write_all(&self.text),
        };
    }
}
