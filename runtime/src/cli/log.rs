//! Log lines on standard error: text for people, JSON for collectors; above the live table where there is one.

use std::io::{self, Write};

use clap::ValueEnum;
use tracing_subscriber::{
    EnvFilter,
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

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
    let filter = filter_of(filter)?;
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

/// What is logged, less what is no news: while a client is closed, rdkafka warns of each answer that comes to a question of
/// ours, which nobody waits for by then ("Ignored event 'ListOffsetsResult' on consumer poll").
fn filter_of(text: &str) -> Result<EnvFilter, String> {
    let closing = "rdkafka::consumer::base_consumer=error";
    // What the user says of that very module counts.
    EnvFilter::try_new(format!("{closing},{text}")).map_err(|e| format!("--log-level `{text}`: {e}"))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a warning of a module is logged.
    fn is_logged(filter: &str, warn: fn()) -> bool {
        #[derive(Clone, Default)]
        struct Lines(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);
        impl Write for Lines {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().expect("whole").write(bytes)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = fmt::layer().with_writer(move || writer.clone());
        let registry = tracing_subscriber::registry().with(filter_of(filter).expect("a filter")).with(layer);
        tracing::subscriber::with_default(registry, warn);
        !lines.0.lock().expect("whole").is_empty()
    }

    #[test]
    fn an_answer_that_comes_while_a_client_is_closed_is_no_news() {
        let ignored = || tracing::warn!(target: "rdkafka::consumer::base_consumer", "Ignored event");
        let other = || tracing::warn!(target: "rdkafka::client", "something else");
        for filter in ["info", "edgereel=debug,warn"] {
            assert!(!is_logged(filter, ignored) && is_logged(filter, other), "{filter}");
        }
        assert!(is_logged("info,rdkafka::consumer::base_consumer=warn", ignored), "it was asked for");
        let error = filter_of("edgereel=loud").expect_err("no filter");
        assert!(error.starts_with("--log-level `edgereel=loud`"), "{error}");
    }
}
