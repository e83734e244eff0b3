//! Log lines on standard error: text for people, JSON for collectors; above the live table where there is one.

use std::{
    fmt,
    io::{self, Write},
    sync::Arc,
};

use clap::ValueEnum;
use tracing_subscriber::{
    EnvFilter,
    fmt::{MakeWriter, layer},
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

impl LogFormat {
    /// As `--log-format` names it.
    pub fn as_str(self) -> &'static str {
        match self {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        }
    }
}

/// Where log lines go: to standard error, or above the table. All clones are the same.
#[derive(Clone)]
pub struct Lines(Arc<dyn Fn(&str) + Send + Sync>);

impl Lines {
    /// Above the table of a screen; without one, to standard error. A terminal or pipe that has gone away must not stop the
    /// frames.
    pub fn new(screen: Option<Screen>) -> Self {
        match screen {
            Some(screen) => Lines::to(move |text| screen.print(text)),
            None => Lines::to(|text| _ = io::stderr().write_all(text.as_bytes())),
        }
    }

    /// To anywhere.
    pub fn to(print: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Lines(Arc::new(print))
    }

    /// Prints lines, each with its end.
    pub fn print(&self, lines: &str) {
        (self.0)(lines);
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lines")
    }
}

/// Starts logging. `filter` is in the form of `RUST_LOG`.
pub fn start(format: LogFormat, filter: &str, lines: Lines) -> Result<(), String> {
    let filter = filter_of(filter)?;
    let colour = console::colors_enabled_stderr();
    let writer = Writer(lines);
    let registry = tracing_subscriber::registry().with(filter);
    let started = match format {
        LogFormat::Text => registry.with(layer().with_ansi(colour).with_target(false).with_writer(writer)).try_init(),
        LogFormat::Json => {
            registry.with(layer().json().flatten_event(true).with_current_span(false).with_writer(writer)).try_init()
        }
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

/// Gives each event a line of its own.
struct Writer(Lines);

/// Collects one event's text and prints it whole.
struct Line<'a> {
    lines: &'a Lines,
    text: Vec<u8>,
}

impl<'a> MakeWriter<'a> for Writer {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { lines: &self.0, text: Vec::with_capacity(256) }
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
        self.lines.print(&String::from_utf8_lossy(&self.text));
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
        let layer = layer().with_writer(move || writer.clone());
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
