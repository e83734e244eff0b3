//! Reading a worker's `/metrics`: single values, sums over labels, and quantiles of histograms.

/// What `/metrics` said at one moment.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    samples: Vec<Sample>,
}

#[derive(Clone, Debug)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Sample {
    fn label(&self, key: &str) -> Option<&str> {
        self.labels.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }
}

/// Labels that a sample has to have; it may have more.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

impl Metrics {
    /// Reads the Prometheus text format; comments and lines of another form are passed over.
    pub fn parse(text: &str) -> Metrics {
        Metrics { samples: text.lines().filter_map(sample).collect() }
    }

    fn matching<'a>(&'a self, name: &'a str, labels: Labels<'a>) -> impl Iterator<Item = &'a Sample> {
        let has = |s: &Sample, (k, v): &(&str, &str)| {
            // A replica also by the name that its process shows.
            let shown = || {
                *k == "name" && s.label("name").zip(s.label("replica")).is_some_and(|(n, r)| *v == format!("{n}-{r}"))
            };
            s.label(k) == Some(*v) || shown()
        };
        self.samples.iter().filter(move |s| s.name == name && labels.iter().all(|label| has(s, label)))
    }

    /// The sum of all samples of this name with these labels; 0 without any. `name` is without the prefix `edgereel_`.
    pub fn sum(&self, name: &str, labels: Labels<'_>) -> f64 {
        self.matching(&format!("edgereel_{name}"), labels).map(|s| s.value).sum()
    }

    /// A counter of a resource in the namespace `default`; `name` is without `edgereel_` and `_total`.
    pub fn count(&self, name: &str, resource: &str) -> u64 {
        self.sum(&format!("{name}_total"), &[("name", resource)]) as u64
    }

    /// A histogram of a resource, to be added to others; `name` is without `edgereel_`, with its unit.
    pub fn histogram(&self, name: &str, resource: &str) -> Histogram {
        let name = format!("edgereel_{name}_bucket");
        let bucket = |s: &Sample| {
            let le = s.labels.iter().find(|(key, _)| key == "le")?;
            let bound = if le.1 == "+Inf" { f64::INFINITY } else { le.1.parse().ok()? };
            Some((bound, s.value))
        };
        let mut buckets: Vec<(f64, f64)> = self.matching(&name, &[("name", resource)]).filter_map(bucket).collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        Histogram { buckets }
    }
}

/// `name{key="value",…} number [timestamp]`
fn sample(line: &str) -> Option<Sample> {
    if line.starts_with('#') {
        return None;
    }
    let (name, labels, rest) = match line.split_once('{') {
        Some((name, rest)) => {
            let (labels, rest) = labels(rest)?;
            (name, labels, rest)
        }
        None => {
            let (name, rest) = line.split_once(' ')?;
            (name, Vec::new(), rest)
        }
    };
    let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
    Some(Sample { name: name.into(), labels, value })
}

/// The labels up to the closing brace, and what follows it.
fn labels(mut rest: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut found = Vec::new();
    loop {
        rest = rest.trim_start_matches(',');
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((found, rest));
        }
        let (key, tail) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut chars = tail.char_indices();
        let end = loop {
            match chars.next()? {
                (at, '"') => break at + 1,
                (_, '\\') => match chars.next()?.1 {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                (_, other) => value.push(other),
            }
        };
        found.push((key.into(), value));
        rest = &tail[end..];
    }
}

/// Cumulative buckets: upper bound and how many are at or below it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    buckets: Vec<(f64, f64)>,
}

impl Histogram {
    /// How many were observed.
    pub fn count(&self) -> u64 {
        self.buckets.last().map_or(0, |b| b.1 as u64)
    }

    /// Adds another process's observations of the same metric.
    pub fn add(&mut self, other: &Histogram) {
        if self.buckets.is_empty() {
            *self = other.clone();
            return;
        }
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            mine.1 += theirs.1;
        }
    }

    /// Takes away what was observed before: an earlier look at the same histogram.
    pub fn subtract(&mut self, earlier: &Histogram) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&earlier.buckets) {
            mine.1 -= theirs.1;
        }
    }

    /// The value that the fraction `q` of observations does not exceed, interpolated within its bucket as Prometheus's
    /// `histogram_quantile` does. In the last, unbounded bucket: the bound below it. `None` without observations.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let total = self.buckets.last().map(|b| b.1).filter(|n| *n > 0.0)?;
        let rank = q * total;
        let mut below = (0.0, 0.0);
        for &(bound, count) in &self.buckets {
            if count >= rank {
                let width = if bound.is_finite() { bound - below.0 } else { 0.0 };
                let share = if count > below.1 { (rank - below.1) / (count - below.1) } else { 1.0 };
                return Some(below.0 + width * share);
            }
            below = (bound, count);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# HELP edgereel_x_total help
edgereel_x_total{namespace="d",name="a",reason="full"} 2
edgereel_x_total{namespace="d",name="a",reason="a \"b\", c}"} 3
edgereel_x_total{namespace="d",name="b"} 4
edgereel_t_seconds_bucket{le="0.1",name="a"} 50
edgereel_t_seconds_bucket{le="0.2",name="a"} 100
edgereel_t_seconds_bucket{le="+Inf",name="a"} 100
"#;

    #[test]
    fn counters_add_up_over_their_other_labels() {
        let metrics = Metrics::parse(TEXT);
        assert_eq!(metrics.count("x", "a"), 5);
        assert_eq!(metrics.sum("x_total", &[("reason", "a \"b\", c}")]), 3.0);
        assert_eq!(metrics.count("y", "a"), 0);
    }

    #[test]
    fn quantiles_are_interpolated_within_their_bucket() {
        let mut histogram = Metrics::parse(TEXT).histogram("t_seconds", "a");
        assert_eq!(histogram.quantile(0.25), Some(0.05));
        assert_eq!(histogram.quantile(0.75), Some(0.15000000000000002));
        histogram.add(&histogram.clone());
        assert_eq!((histogram.count(), histogram.quantile(0.5)), (200, Some(0.1)));
        histogram.subtract(&Metrics::parse(TEXT).histogram("t_seconds", "a"));
        assert_eq!((histogram.count(), histogram.quantile(0.25)), (100, Some(0.05)));
        assert_eq!(Histogram::default().quantile(0.5), None);
    }
}
