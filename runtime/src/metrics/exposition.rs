//! All metrics as text: in OpenMetrics for who asks for it, else in the older format that every tool reads.

use std::{collections::HashSet, iter};

use prometheus_client::encoding::text::encode;

use super::Metrics;

/// How metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus's text format 0.0.4.
    Prometheus,
}

impl Format {
    /// What a request's `Accept` header asks for.
    pub fn accepted(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") { Format::OpenMetrics } else { Format::Prometheus }
    }

    /// The answer's `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

impl Metrics {
    /// All metrics.
    pub fn text(&self, format: Format) -> String {
        let mut text = String::new();
        {
            let _still = self.counting.still();
            // Writing to a String cannot fail.
            let _ = encode(&mut text, &self.registry);
        }
        match format {
            Format::OpenMetrics => text,
            Format::Prometheus => older(&text),
        }
    }
}

/// The samples are the same. In OpenMetrics a counter is described under its name without `_total`, and there are units and
/// an end mark, which the older format does not have.
fn older(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut help = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let total = if kind == "counter" { "_total" } else { "" };
            if let Some((_, help)) = help.take() {
                out += &format!("# HELP {name}{total} {help}\n");
            }
            out += &format!("# TYPE {name}{total} {kind}\n");
        } else if !line.starts_with("# UNIT ") && line != "# EOF" {
            out += line;
            out.push('\n');
        }
    }
    out
}

/// This process's metrics with what other processes count for its resources, as one text: each family once, and a series that
/// both tell as it is told here. What others say of themselves (their memory, their CPU) is left out.
pub fn merged(own: String, others: &[String]) -> String {
    if others.is_empty() {
        return own;
    }
    let mut known: HashSet<&str> = HashSet::new();
    let mut families: Vec<Family<'_>> = vec![];
    for (origin, text) in iter::once(&own).chain(others).enumerate() {
        let mut place = None;
        for line in text.lines().filter(|line| !line.is_empty() && *line != "# EOF") {
            if let Some(name) = line.strip_prefix("# ").and_then(|rest| rest.split(' ').nth(1)) {
                let found = families.iter().position(|family| family.name == name);
                let at = found.unwrap_or(families.len());
                if found.is_none() {
                    families.push(Family { name, origin, ..Family::default() });
                }
                if families[at].origin == origin {
                    families[at].head.push(line);
                }
                place = Some(at);
                continue;
            }
            let series = line.rsplit_once(' ').map_or(line, |(series, _)| series);
            let of_resource = series.contains("namespace=\"");
            if let Some(at) = place
                && (origin == 0 || of_resource)
                && known.insert(series)
            {
                families[at].samples.push(line);
            }
        }
    }
    let mut out = String::with_capacity(own.len() + others.iter().map(String::len).sum::<usize>());
    for family in families.iter().filter(|family| family.origin == 0 || !family.samples.is_empty()) {
        for line in family.head.iter().chain(&family.samples) {
            out += line;
            out.push('\n');
        }
    }
    if own.ends_with("# EOF\n") {
        out += "# EOF\n";
    }
    out
}

/// A metric with all its series, as lines.
#[derive(Default)]
struct Family<'a> {
    name: &'a str,
    /// Which text told it first; ours is 0.
    origin: usize,
    head: Vec<&'a str>,
    samples: Vec<&'a str>,
}

#[cfg(test)]
mod tests {
    use prometheus_client::{
        metrics::{counter::Counter, family::Family},
        registry::Unit,
    };

    use super::*;
    use crate::metrics::Resource;

    fn gate() -> Resource {
        Resource { kind: "CameraStream", namespace: "lab".into(), name: "gate".into(), replica: 0 }
    }

    #[test]
    fn who_asks_for_openmetrics_gets_it_and_everyone_else_what_every_tool_reads() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(Format::accepted(prometheus), Format::OpenMetrics);
        assert_eq!([Format::accepted("*/*"), Format::accepted("")], [Format::Prometheus; 2]);
    }

    #[test]
    fn the_older_format_has_the_same_samples_each_under_its_own_help() {
        let mut metrics = Metrics::default();
        let captured: Family<Resource, Counter> =
            metrics.family_in(Unit::Bytes, "camera_captured", "Bytes of frames that came from the camera");
        captured.get_or_create(&gate()).inc_by(0);
        let (new, old) = (metrics.text(Format::OpenMetrics), metrics.text(Format::Prometheus));
        let samples = |text: &str| {
            let lines = text.lines().filter(|line| !line.starts_with('#'));
            lines.filter(|line| !line.starts_with("process_")).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(samples(&new), samples(&old));
        let head = "# HELP edgereel_camera_captured_bytes_total Bytes of frames that came from the camera.\n\
                    # TYPE edgereel_camera_captured_bytes_total counter\n\
                    edgereel_camera_captured_bytes_total{kind=\"CameraStream\",namespace=\"lab\",name=\"gate\",replica=\"0\"} 0\n";
        assert!(old.contains(head), "{old}");
        assert!(!old.contains("# UNIT") && !old.contains("# EOF") && new.ends_with("# EOF\n"));
    }

    #[test]
    fn what_others_count_stands_in_its_family_and_nothing_stands_twice() {
        let own = "# HELP ready Whether.\n# TYPE ready gauge\nready{namespace=\"a\",name=\"x\"} 1\n\
                   # HELP memory Bytes.\n# TYPE memory gauge\nmemory 7\n# EOF\n";
        let other = "# HELP faces Seen.\n# TYPE faces counter\nfaces_total{namespace=\"a\",name=\"x\"} 5\n\
                     # HELP ready Whether.\n# TYPE ready gauge\nready{namespace=\"a\",name=\"x\"} 0\n\
                     ready{namespace=\"a\",name=\"y\"} 1\n# HELP memory Bytes.\n# TYPE memory gauge\nmemory 9\n\
                     # HELP load Its own.\n# TYPE load gauge\nload 1\n# EOF\n";
        assert_eq!(
            merged(own.into(), &[other.into(), other.into()]),
            "# HELP ready Whether.\n# TYPE ready gauge\nready{namespace=\"a\",name=\"x\"} 1\n\
             ready{namespace=\"a\",name=\"y\"} 1\n# HELP memory Bytes.\n# TYPE memory gauge\nmemory 7\n\
             # HELP faces Seen.\n# TYPE faces counter\nfaces_total{namespace=\"a\",name=\"x\"} 5\n# EOF\n"
        );
        assert_eq!(merged(own.into(), &[]), own);
    }

    #[test]
    fn merging_keeps_every_line_of_our_own() {
        let mut metrics = Metrics::default();
        let times = metrics.histograms(Unit::Seconds, "flush", "Flushes", crate::metrics::latency);
        times.get_or_create(&gate()).observe(0.1);
        for format in [Format::OpenMetrics, Format::Prometheus] {
            let text = metrics.text(format);
            assert_eq!(merged(text.clone(), std::slice::from_ref(&text)), text);
        }
    }
}
