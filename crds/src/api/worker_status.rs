//! What a worker answers at `/status`: the conditions and figures of the resources that it runs.
//!
//! The worker writes it and the operator reads it, perhaps in another version: unknown fields are passed over, and a
//! figure that is not known is absent.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::api::status::{Condition, Reason};

/// The whole answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerStatus {
    /// The worker's version.
    pub version: String,
    /// The resources that this process runs: one in a pod, all that the files hold on a machine of one's own.
    pub resources: Vec<ResourceReport>,
}

/// One resource (one replica of it).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceReport {
    /// `CameraStream` or `FrameSink`.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name, with `-<replica>` where one process runs several.
    pub name: String,
    /// Its conditions. One whose type or reason this version does not know is passed over when read.
    #[serde(deserialize_with = "known_conditions")]
    pub conditions: Vec<Condition>,
    /// What its document calls its revision, where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The last thing that went wrong since the start, mended or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<LastError>,
    /// The `KafkaConnection`s that it uses, as far as its worker has tried them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub connections: Vec<ConnectionReport>,
    /// What everyone shows of it. Older workers do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overview: Option<Overview>,
    /// Its live figures: an object `figures`, and beside it `semantics`.
    #[serde(flatten)]
    pub figures: Figures,
}

/// Reasons are a closed set, which a newer worker may have added to: that must not make its figures unreadable.
fn known_conditions<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Condition>, D::Error> {
    let all = Vec::<serde_json::Value>::deserialize(deserializer)?;
    Ok(all.into_iter().filter_map(|condition| serde_json::from_value(condition).ok()).collect())
}

/// What a worker knows of a `KafkaConnection`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionReport {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Whether a broker answers now.
    pub reached: bool,
    /// The brokers that are connected now, as `host:port/id`; a client keeps connections only to those that it needs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub brokers: Vec<String>,
    /// Whether the login works; absent where there is none, or nobody got that far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<bool>,
    /// When a broker last answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_reached: Option<Timestamp>,
    /// Why it is not reached, or not by all clients. Of a newer version's reasons nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "known_reason")]
    pub reason: Option<Reason>,
    /// The same in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

fn known_reason<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Reason>, D::Error> {
    let reason = Option::<Value>::deserialize(deserializer)?;
    Ok(reason.and_then(|reason| serde_json::from_value(reason).ok()))
}

/// The last thing that went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastError {
    /// When.
    pub time: Timestamp,
    /// What, without credentials.
    pub message: String,
}

/// What kind of number a figure is, so that whoever adds up, shows or rounds it need not know its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Semantics {
    /// Counts up from the start of the process.
    Count,
    /// Counts by reason, without zeros.
    Counts,
    /// So many a second, over the last seconds.
    Rate,
    /// A mean of what the figure `fps` counts, weighed by it.
    Mean,
    /// How much there is now; several add up. One that is not known makes the sum unknown.
    Amount,
    /// Of several the least is told: free space.
    Least,
    /// Of several the greatest is told: an age.
    Greatest,
    /// A moment, RFC 3339; of several the latest is told.
    Time,
    /// Words.
    Text,
    /// Of a newer version.
    #[serde(other)]
    Unknown,
}

/// Live figures by name, in the order in which they were told. Counts are since the process started; rates and means are of the
/// last five seconds. A figure that is not known is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// The values.
    figures: Map<String, Value>,
    /// What kind of number each is. Older workers do not say it.
    #[serde(default)]
    semantics: BTreeMap<String, Semantics>,
}

impl Figures {
    /// No figures yet.
    pub fn new() -> Self {
        Figures::default()
    }

    /// With one figure more; without it where it is not known, but with its kind: then nobody knows the sum.
    pub fn with(mut self, name: &str, semantics: Semantics, value: impl Into<Option<Value>>) -> Self {
        if let Some(value) = value.into() {
            self.figures.insert(name.to_owned(), value);
        }
        self.semantics.insert(name.to_owned(), semantics);
        self
    }

    /// With a count.
    pub fn count(self, name: &str, value: u64) -> Self {
        self.with(name, Semantics::Count, Value::from(value))
    }

    /// With an amount.
    pub fn amount(self, name: &str, value: Option<i64>) -> Self {
        self.with(name, Semantics::Amount, value.map(Value::from))
    }

    /// With a moment.
    pub fn time(self, name: &str, value: Option<Timestamp>) -> Self {
        self.with(name, Semantics::Time, value.map(|time| Value::from(time.to_string())))
    }

    /// With counts by reason; zeros are left out.
    pub fn counts<R: Into<String>>(self, name: &str, counts: impl IntoIterator<Item = (R, u64)>) -> Self {
        let counts = counts.into_iter().filter(|(_, count)| *count > 0);
        let counts: Map<String, Value> = counts.map(|(reason, count)| (reason.into(), count.into())).collect();
        self.with(name, Semantics::Counts, Value::Object(counts))
    }

    /// All of them, each with its kind; those of an older worker are known by their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Semantics, &Value)> {
        self.figures.iter().map(|(name, value)| (name.as_str(), self.semantics(name), value))
    }

    fn semantics(&self, name: &str) -> Semantics {
        self.semantics.get(name).copied().unwrap_or_else(|| of_older(name))
    }

    /// One as a whole number.
    pub fn int(&self, name: &str) -> Option<i64> {
        let value = self.figures.get(name)?;
        value.as_i64().or_else(|| value.as_f64().map(|value| value as i64))
    }

    /// One as a count.
    pub fn uint(&self, name: &str) -> Option<u64> {
        self.int(name)?.try_into().ok()
    }

    /// One as a number.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.figures.get(name)?.as_f64()
    }

    /// One as a moment.
    pub fn moment(&self, name: &str) -> Option<Timestamp> {
        self.text(name)?.parse().ok()
    }

    /// One as words.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.figures.get(name)?.as_str()
    }

    /// These with all that was counted before they began from zero.
    pub fn after(&self, former: &Figures) -> Figures {
        let counted = former.iter().filter(|(_, kind, _)| matches!(kind, Semantics::Count | Semantics::Counts));
        let counted = counted.fold(Figures::new(), |all, (name, kind, value)| all.with(name, kind, value.clone()));
        let mut sum = self.clone();
        for (name, kind, _) in counted.iter() {
            sum = sum.with(name, kind, one_of(name, kind, &[self, &counted]));
        }
        sum
    }

    /// Those of several workers as one.
    pub fn added_up(all: &[&Figures]) -> Figures {
        let mut sum = Figures::new();
        let names = all.iter().flat_map(|one| one.figures.keys().chain(one.semantics.keys()));
        for name in names.map(String::as_str) {
            if !sum.semantics.contains_key(name) {
                let semantics = all.iter().map(|one| one.semantics(name)).find(|s| *s != Semantics::Unknown);
                let semantics = semantics.unwrap_or(Semantics::Unknown);
                sum = sum.with(name, semantics, one_of(name, semantics, all));
            }
        }
        sum
    }
}

/// One figure of several workers.
fn one_of(name: &str, semantics: Semantics, all: &[&Figures]) -> Option<Value> {
    let numbers = || all.iter().filter_map(|one| one.number(name));
    let whole = |number: f64| if number.fract() == 0.0 { Value::from(number as i64) } else { Value::from(number) };
    match semantics {
        Semantics::Count => Some(Value::from(all.iter().filter_map(|one| one.uint(name)).sum::<u64>())),
        Semantics::Rate => Some(Value::from(numbers().sum::<f64>())),
        Semantics::Amount => all.iter().map(|one| one.int(name)).sum::<Option<i64>>().map(Value::from),
        Semantics::Mean => {
            let weighed = all.iter().filter_map(|one| Some((one.number("fps")?, one.number(name)?)));
            let (weight, sum) = weighed.fold((0.0, 0.0), |(weight, sum), (w, mean)| (weight + w, sum + w * mean));
            if weight > 0.0 { Some(whole((sum / weight).floor())) } else { numbers().reduce(f64::max).map(whole) }
        }
        Semantics::Least => numbers().reduce(f64::min).map(whole),
        Semantics::Greatest => numbers().reduce(f64::max).map(whole),
        Semantics::Time => all.iter().filter_map(|one| one.moment(name)).max().map(|time| time.to_string().into()),
        Semantics::Counts => {
            let mut sum: BTreeMap<&str, u64> = BTreeMap::new();
            for (reason, count) in all.iter().filter_map(|one| one.figures.get(name)?.as_object()).flatten() {
                *sum.entry(reason).or_default() += count.as_u64().unwrap_or(0);
            }
            Some(sum.into_iter().map(|(reason, count)| (reason.to_owned(), Value::from(count))).collect())
        }
        Semantics::Text | Semantics::Unknown => all.iter().find_map(|one| one.figures.get(name).cloned()),
    }
}

/// What the figures of workers before `semantics` are.
fn of_older(name: &str) -> Semantics {
    match name {
        "fps" => Semantics::Rate,
        "frameBytes" => Semantics::Mean,
        "dropped" => Semantics::Counts,
        "framesWaiting" | "bufferBytes" | "lagRecords" | "assignedPartitions" => Semantics::Amount,
        "lagSeconds" | "topicPartitions" => Semantics::Greatest,
        "diskFreeBytes" | "diskSizeBytes" | "diskFreeRatio" => Semantics::Least,
        "lastFrameTime" => Semantics::Time,
        "frameSize" => Semantics::Text,
        name if ["frames", "records", "bytes"].iter().any(|what| name.starts_with(what)) => Semantics::Count,
        _ => Semantics::Unknown,
    }
}

/// What everyone shows of a resource, whatever its kind does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Overview {
    /// The kind, as `kubectl` shortens it.
    pub short: String,
    /// What came, as in `framesCaptured`; none where nothing comes but what is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub came: Option<u64>,
    /// What is safe: acknowledged by Kafka, or written.
    pub safe: u64,
    /// What still waits in Kafka; none where nothing does, or nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<i64>,
    /// What was dropped, by reason, without zeros.
    #[serde(default)]
    pub dropped: BTreeMap<String, u64>,
    /// The reasons among them that somebody wants: no loss.
    #[serde(default)]
    pub meant: Vec<String>,
    /// Bytes of all that came, or was written.
    pub bytes: u64,
    /// Larger ones are too large.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warn_bytes: Option<u64>,
    /// What became of it, as a sentence's beginning: `4 frames captured (340.0 KB), 2 in topic Gate`.
    pub told: String,
}

impl Overview {
    /// All that was dropped.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.values().sum()
    }

    /// This with all that was counted before it began from zero.
    pub fn after(mut self, former: &Overview) -> Overview {
        self.came = [self.came, former.came].into_iter().flatten().reduce(|a, b| a + b);
        self.safe += former.safe;
        self.bytes += former.bytes;
        for (reason, count) in &former.dropped {
            *self.dropped.entry(reason.clone()).or_default() += count;
        }
        let meant = former.meant.iter().filter(|reason| !self.meant.contains(reason)).cloned();
        self.meant.extend(meant.collect::<Vec<_>>());
        self
    }

    /// Whether something was dropped that nobody wants to be.
    pub fn is_losing(&self) -> bool {
        self.dropped.iter().any(|(reason, count)| *count > 0 && !self.meant.contains(reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::status::ConditionType;

    #[test]
    fn a_newer_workers_answer_is_read_without_its_unknown_fields() {
        let answer = r#"{"version": "9.0.0", "more": 1, "resources": [
            {"kind": "CameraStream", "namespace": "lab", "name": "gate", "conditions": [], "lastError": null,
             "figures": {"fps": 29.9, "frameBytes": 85000, "framesCaptured": 100, "framesAcknowledged": 99,
                         "framesDropped": 1, "dropped": {"pacing": 1}, "lastFrameTime": "2024-06-04T10:30:00Z", "new": []}},
            {"kind": "FrameSink", "namespace": "lab", "name": "files", "conditions": [
                {"type": "Ready", "status": "False", "reason": "CatOnKeyboard", "message": "shoo", "lastTransitionTime": ""},
                {"type": "StorageHealthy", "status": "True", "reason": "Running", "message": "", "lastTransitionTime": "", "new": 1}],
             "figures": {"fps": 30.0, "frameBytes": 85000, "framesStored": 98, "lagRecords": 2}}]}"#;
        let status: WorkerStatus = serde_json::from_str(answer).expect("readable");
        let [camera, sink] = &status.resources[..] else { panic!("two resources") };
        assert_eq!((camera.figures.uint("framesAcknowledged"), camera.figures.number("fps")), (Some(99), Some(29.9)));
        assert_eq!((sink.figures.uint("framesStored"), sink.figures.int("lagRecords")), (Some(98), Some(2)));
        let known: Vec<ConditionType> = sink.conditions.iter().map(|condition| condition.kind).collect();
        assert_eq!(known, [ConditionType::StorageHealthy], "a reason that is not known here harms nothing else");
    }

    #[test]
    fn figures_of_several_workers_are_one_by_what_they_are() {
        let worker = |fps: f64, bytes: u64, lag: Option<i64>, free: i64, reason: &str| {
            Figures::new()
                .with("fps", Semantics::Rate, Value::from(fps))
                .with("frameBytes", Semantics::Mean, Value::from(bytes))
                .count("framesStored", 10)
                .amount("lagRecords", lag)
                .with("diskFreeBytes", Semantics::Least, Value::from(free))
                .counts("dropped", [(reason, 2), ("nothing", 0)])
                .time("lastFrameTime", Timestamp::from_second(free).ok())
        };
        let (a, b) = (worker(10.0, 100, Some(5), 7, "late"), worker(30.0, 200, Some(0), 3, "late"));
        let sum = Figures::added_up(&[&a, &b]);
        assert_eq!(
            (sum.number("fps"), sum.int("frameBytes"), sum.uint("framesStored")),
            (Some(40.0), Some(175), Some(20))
        );
        assert_eq!((sum.int("lagRecords"), sum.int("diskFreeBytes")), (Some(5), Some(3)));
        assert_eq!(sum.moment("lastFrameTime").map(|time| time.as_second()), Some(7));
        let json = serde_json::to_value(&sum).expect("JSON");
        assert_eq!(json["figures"]["dropped"], serde_json::json!({"late": 4}));
        let unknown = worker(0.0, 0, None, 1, "late");
        assert_eq!(Figures::added_up(&[&a, &unknown]).int("lagRecords"), None, "what one does not know is no zero");
    }

    #[test]
    fn counts_go_on_where_a_process_began_again_and_nothing_else_does() {
        let process = |count: u64, fps: f64, reason: &str| {
            let figures = Figures::new().count("framesStored", count).amount("lagRecords", Some(count as i64));
            figures.with("fps", Semantics::Rate, Value::from(fps)).counts("dropped", [(reason, count)])
        };
        let sum = process(3, 10.0, "late").after(&process(40, 30.0, "torn"));
        let of = |name: &str| sum.number(name);
        assert_eq!((of("framesStored"), of("lagRecords"), of("fps")), (Some(43.0), Some(3.0), Some(10.0)));
        let json = serde_json::to_value(&sum).expect("JSON");
        assert_eq!(json["figures"]["dropped"], serde_json::json!({"late": 3, "torn": 40}));
        let overview = |safe, reason: &str| Overview {
            safe,
            came: Some(safe),
            lag: Some(1),
            dropped: [(reason.to_owned(), 2)].into(),
            ..Overview::default()
        };
        let sum = overview(3, "late").after(&overview(40, "late"));
        assert_eq!((sum.safe, sum.came, sum.lag, sum.dropped_total()), (43, Some(43), Some(1), 4));
        assert_eq!(Figures::new().after(&process(5, 1.0, "late")).uint("framesStored"), Some(5), "it has just begun");
    }

    #[test]
    fn a_worker_before_this_and_one_after_it_are_read_alike() {
        let report = |figures: &str| {
            let text =
                format!(r#"{{"kind": "FrameSink", "namespace": "d", "name": "n", "conditions": [], {figures}}}"#);
            serde_json::from_str::<ResourceReport>(&text).expect("readable").figures
        };
        let before = report(r#""figures": {"fps": 20, "frameBytes": 10, "framesStored": 1, "lagRecords": 3}"#);
        let after = report(
            r#""figures": {"fps": 10, "lagRecords": 4, "soundLevel": 7}, "semantics": {"fps": "rate",
            "lagRecords": "amount", "soundLevel": "sung"}"#,
        );
        let sum = Figures::added_up(&[&before, &after]);
        assert_eq!((sum.number("fps"), sum.int("lagRecords"), sum.int("soundLevel")), (Some(30.0), Some(7), Some(7)));
    }
}
