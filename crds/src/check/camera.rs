//! What a `CameraStream` has to keep to.

use std::time::Duration;

use url::Url;

use super::{Report, device, directory, file, names, pod, schedule};
use crate::{
    api::{
        active_hours::{ActiveHours, minutes},
        camera_stream::{
            CameraStreamSpec, CameraTls, EnsureTopic, FrameRate, NO_HOST, Producer, Reencode, Source, SyntheticSource,
            Topic,
        },
        common::{FrameFormat, LocalRef, has_login},
        pod::PodTemplate,
        template::zone::zone,
        units::ByteSize,
    },
    problem::{FieldPath, did_you_mean, shown},
};

/// librdkafka's largest `message.max.bytes`.
const MAX_MESSAGE: u64 = 1_000_000_000;
/// Room for a record's key, headers and framing beside the frame; ours take about 400 bytes.
const RECORD_OVERHEAD: u64 = 4096;
/// librdkafka takes milliseconds as 32-bit numbers; no one waits longer than a day for a record.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Topic settings that people write; a name near one of them is a slip.
const TOPIC_SETTINGS: [&str; 20] = [
    "cleanup.policy",
    "compression.type",
    "delete.retention.ms",
    "file.delete.delay.ms",
    "flush.messages",
    "flush.ms",
    "index.interval.bytes",
    "local.retention.bytes",
    "local.retention.ms",
    "max.compaction.lag.ms",
    "max.message.bytes",
    "message.timestamp.type",
    "min.insync.replicas",
    "preallocate",
    "remote.storage.enable",
    "retention.bytes",
    "retention.ms",
    "segment.bytes",
    "segment.ms",
    "unclean.leader.election.enable",
];

pub(super) fn check(spec: &CameraStreamSpec, report: &mut Report<'_>) {
    check_source(spec, report);
    directory::check_storage(spec, report);
    file::check(spec, report);
    schedule::check(spec, report);
    check_rate(&spec.frame_rate, report);
    check_sizes(spec, report);
    check_topic(&spec.topic, record_bytes(spec), report);
    check_producer(&spec.producer, report);
    pod::template(&spec.template, report);
    check_worker(spec, report);
    if let Some(hours) = &spec.active_hours {
        check_hours(hours, report);
    }
    report.unless(
        !spec.watchdog.stall.is_zero(),
        "spec.watchdog.stall",
        "it is zero: every camera would count as broken",
        "give the time without a frame, as in `10s`",
    );
}

/// Of a camera in the pod of a `CameraWorker`, that one says where it runs and what it is like.
fn check_worker(spec: &CameraStreamSpec, report: &mut Report<'_>) {
    let Some(worker) = &spec.worker_ref else { return };
    let set =
        [("spec.placement", spec.placement.is_some()), ("spec.template", spec.template != PodTemplate::default())];
    for (field, _) in set.iter().filter(|(_, set)| *set) {
        let message = format!("the camera runs in the pod of CameraWorker `{}`, whose own counts", shown(&worker.name));
        report.add(*field, message, "take it out, and write it there");
    }
}

fn check_hours(hours: &ActiveHours, report: &mut Report<'_>) {
    let at = FieldPath::of("spec.activeHours");
    if let Err(error) = zone(hours.time_zone.as_deref()) {
        let (message, remedy) = error.split_once("; ").unwrap_or((&error, ""));
        report.add(at.key("timeZone"), message, remedy);
    }
    for (n, window) in hours.windows.iter().enumerate() {
        let at = at.key("windows").index(n);
        for (field, text) in [("from", &window.from), ("until", &window.until)] {
            if let Err(remedy) = minutes(text) {
                report.add(at.key(field), format!("`{}` is not a time of day", shown(text)), remedy);
            }
        }
        if window.from == "24:00" {
            report.add(at.key("from"), "no window begins at the end of a day", "write `00:00`");
        }
    }
}

/// The size of the largest record that frames up to `max_frame` make, in bytes, with key, headers and framing.
pub fn largest_record(max_frame: ByteSize, format: FrameFormat) -> u64 {
    let value = match format {
        FrameFormat::Jpeg => max_frame.0,
        FrameFormat::Json => max_frame.0.div_ceil(3).saturating_mul(4),
    };
    value.saturating_add(RECORD_OVERHEAD)
}

fn record_bytes(spec: &CameraStreamSpec) -> u64 {
    largest_record(spec.encoding.max_frame_bytes, spec.encoding.format)
}

fn check_source(spec: &CameraStreamSpec, report: &mut Report<'_>) {
    match &spec.source {
        Source::Mjpeg(mjpeg) => {
            let at = FieldPath::of("spec.source.mjpeg");
            check_url(&mjpeg.url, &HTTP, &mjpeg.tls, &mjpeg.credentials_secret_ref, &at, report);
        }
        Source::Snapshot(snapshot) => {
            let at = FieldPath::of("spec.source.snapshot");
            check_url(&snapshot.url, &HTTP, &snapshot.tls, &snapshot.credentials_secret_ref, &at, report);
            let interval = *snapshot.interval;
            if interval < Duration::from_millis(10) || interval > DAY {
                report.add(
                    at.key("interval"),
                    format!("`{}` is out of range", snapshot.interval),
                    "write `10ms` to `24h`",
                );
            }
            if *spec.watchdog.stall <= interval {
                report.add(
                    "spec.watchdog.stall",
                    format!(
                        "`{}` is not longer than the snapshots' interval, `{}`",
                        spec.watchdog.stall, snapshot.interval
                    ),
                    "make it a few times the interval: else the camera counts as broken between two pictures",
                );
            }
        }
        Source::Rtsp(rtsp) => {
            let at = FieldPath::of("spec.source.rtsp");
            check_url(&rtsp.url, &RTSP, &None, &rtsp.credentials_secret_ref, &at, report);
        }
        Source::Device(source) => device::check(source, spec.worker_ref.is_some(), report),
        Source::Directory(_) | Source::File(_) => {}
        Source::Synthetic(synthetic) => check_synthetic(synthetic, spec.encoding.max_frame_bytes, report),
    }
}

/// What a source's URLs are like.
struct Urls {
    schemes: &'static [&'static str],
    /// What a URL of another scheme is told.
    not: (&'static str, &'static str),
    example: &'static str,
}

const HTTP: Urls = Urls {
    schemes: &["http", "https"],
    not: ("this is not an HTTP URL", "begin it with `http://` or `https://`"),
    example: "write it as `http://camera/video`",
};
const RTSP: Urls = Urls {
    schemes: &["rtsp"],
    not: ("this is not an RTSP URL", "begin it with `rtsp://`"),
    example: "write it as `rtsp://camera/stream`",
};

/// The URL itself is not shown: it may hold a password.
fn check_url(
    url: &str,
    urls: &Urls,
    tls: &Option<CameraTls>,
    login: &Option<LocalRef>,
    at: &FieldPath,
    report: &mut Report<'_>,
) {
    if url.chars().any(|c| c.is_whitespace() || c.is_control()) {
        let message = "there is a blank or a line break in the URL";
        return report.add(at.key("url"), message, "take it out; within a path or a login, write a blank as `%20`");
    }
    let parsed = match Url::parse(url) {
        Ok(parsed) if urls.schemes.contains(&parsed.scheme()) => parsed,
        Ok(_) => return report.add(at.key("url"), urls.not.0, urls.not.1),
        Err(why) => return report.add(at.key("url"), format!("this is not a URL: {why}"), urls.example),
    };
    if parsed.host_str().is_none_or(str::is_empty) {
        return report.add(at.key("url"), NO_HOST.0, NO_HOST.1);
    }
    if has_login(url) && login.is_some() {
        let message = "the URL has a login too, and only one can be used";
        report.add(at.key("credentialsSecretRef"), message, "take the login out of the URL");
    }
    let Some(tls) = tls else { return };
    if parsed.scheme() == "http" {
        report.add(at.key("tls"), "the URL is `http://`, which has no TLS", "use `https://`, or take `tls` out");
    }
    if tls.insecure_skip_verify && tls.ca_secret_ref.is_some() {
        let message = "with `insecureSkipVerify` no certificate is looked at";
        report.add(at.key("tls").key("caSecretRef"), message, "keep one of the two");
    }
}

fn check_synthetic(synthetic: &SyntheticSource, largest: ByteSize, report: &mut Report<'_>) {
    let side = |text: &str| text.parse().ok().filter(|n: &u32| (64..=7680).contains(n) && n.is_multiple_of(16));
    let size = synthetic.size.split_once('x').and_then(|(w, h)| side(w).zip(side(h)));
    if size.is_none() {
        let message = format!("`{}` is not a picture size", shown(&synthetic.size));
        let remedy = "write width × height, each 64 to 7680 and a multiple of 16, as in `1280x720`";
        report.add("spec.source.synthetic.size", message, remedy);
    }
    let field = "spec.source.synthetic.frameBytes";
    let bytes = synthetic.frame_bytes;
    if !(2_000..=10_000_000).contains(&bytes.0) {
        report.add(field, format!("`{bytes}` is out of range"), "write `2k` to `10M`");
    } else if bytes > largest {
        let message =
            format!("`{bytes}` is more than `encoding.maxFrameBytes`, `{largest}`: every frame would be dropped");
        report.add(field, message, "make it smaller, or `maxFrameBytes` larger");
    }
}

fn check_rate(rate: &FrameRate, report: &mut Report<'_>) {
    let valid = |fps: Option<f64>| fps.is_none_or(|fps| (0.001..=1000.0).contains(&fps));
    for (field, fps) in [("spec.frameRate.target", rate.target), ("spec.frameRate.minimum", rate.minimum)] {
        report.unless(valid(fps), field, "it is out of range", "write a number from 0.001 to 1000");
    }
    if let (Some(minimum), Some(target)) = (rate.minimum, rate.target) {
        report.unless(
            minimum <= target,
            "spec.frameRate.minimum",
            format!("{minimum} is more than `target`, {target}"),
            "make it at most `target`",
        );
    }
    if rate.adaptive && rate.target.is_none() {
        report.add("spec.frameRate.adaptive", "it needs `target`, the rate to come back to", "give `frameRate.target`");
    }
    if !rate.adaptive && rate.minimum.is_some() {
        let message = "only `adaptive` goes down to it, and that is off";
        report.add("spec.frameRate.minimum", message, "set `adaptive: true`, or take `minimum` out");
    }
}

fn check_sizes(spec: &CameraStreamSpec, report: &mut Report<'_>) {
    let largest = spec.encoding.max_frame_bytes;
    let record = record_bytes(spec);
    let field = "spec.encoding.maxFrameBytes";
    if largest < ByteSize(1024) {
        report.add(field, format!("`{largest}` is smaller than any picture"), "write at least `1Ki`");
    } else if record > MAX_MESSAGE {
        report.add(
            field,
            format!("a record with such a frame has {record} bytes, and Kafka's client sends {MAX_MESSAGE} at most"),
            "make it smaller",
        );
    }
    report.unless(
        spec.buffer.memory >= largest,
        "spec.buffer.memory",
        format!("`{}` cannot hold one frame of `encoding.maxFrameBytes`, `{largest}`", spec.buffer.memory),
        "make it at least that, better a few seconds of frames",
    );
    let quality_counts = spec.encoding.reencode != Reencode::Never;
    report.unless(
        !quality_counts || (1..=100).contains(&spec.encoding.quality),
        "spec.encoding.quality",
        format!("{} is out of range", spec.encoding.quality),
        "write a whole number from 1 to 100",
    );
}

fn check_topic(topic: &Topic, record: u64, report: &mut Report<'_>) {
    names::topic(&topic.name, &FieldPath::of("spec.topic.name"), report);
    if topic.ensure == EnsureTopic::Exists {
        let message = "with `ensure: exists` it is not looked at";
        let remedy = "take it out, or use `ensure: verify`";
        report.unless(topic.replication_factor.is_none(), "spec.topic.replicationFactor", message, remedy);
        report.unless(topic.config.is_empty(), "spec.topic.config", message, remedy);
    }
    for (key, value) in &topic.config {
        let field = FieldPath::of("spec.topic.config").key(key);
        match topic_setting(key, value, topic, record) {
            Ok(()) => {}
            Err((message, remedy)) => report.add(field, message, remedy),
        }
    }
}

fn topic_setting(key: &str, value: &str, topic: &Topic, record: u64) -> Result<(), (String, String)> {
    let known = TOPIC_SETTINGS.contains(&key);
    if !known && let Some(near) = did_you_mean(key, TOPIC_SETTINGS) {
        return Err(("topics have no such setting".into(), format!("did you mean `{near}`?")));
    }
    if key.is_empty() || !key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.') {
        let remedy = "Kafka's settings are in small letters with dots between";
        return Err(("topics have no such setting".into(), remedy.into()));
    }
    let numeric = [".ms", ".bytes", ".messages", ".replicas"].iter().any(|end| known && key.ends_with(end));
    let number: Option<i64> = value.parse().ok();
    match (key, number) {
        (_, None) if numeric => Err((format!("`{}` is not a whole number", shown(value)), number_remedy(key))),
        ("max.message.bytes", Some(most)) if u64::try_from(most).unwrap_or(0) < record => Err((
            format!("{most} bytes do not hold a record with a frame of `encoding.maxFrameBytes`, which has {record}"),
            format!("write at least \"{record}\", or make `maxFrameBytes` smaller"),
        )),
        ("min.insync.replicas", Some(least)) if topic.replication_factor.is_some_and(|all| least > all.into()) => {
            Err((
                format!("{least} is more than `replicationFactor`: nothing could be acknowledged"),
                "make it smaller".into(),
            ))
        }
        ("cleanup.policy", _) if value.split(',').any(|policy| policy.trim() == "compact") => {
            Err(("compaction keeps only the last frame of each key".into(), "write \"delete\", or take it out".into()))
        }
        _ => Ok(()),
    }
}

fn number_remedy(key: &str) -> String {
    match key.rsplit('.').next() {
        Some("ms") => "Kafka wants milliseconds, as in \"604800000\" for 7 days".into(),
        Some("bytes") => "Kafka wants bytes, as in \"1073741824\" for 1 GiB".into(),
        _ => "write it in digits".into(),
    }
}

fn check_producer(producer: &Producer, report: &mut Report<'_>) {
    let (linger, timeout) = (*producer.linger, *producer.delivery_timeout);
    let field = "spec.producer.deliveryTimeout";
    if timeout < Duration::from_secs(1) || timeout > DAY {
        report.add(field, format!("`{}` is out of range", producer.delivery_timeout), "write `1s` to `24h`");
    } else if linger >= timeout {
        let message = format!("`{}` is not longer than `linger`, `{}`", producer.delivery_timeout, producer.linger);
        report.add(field, message, "make it a good deal longer");
    }
    // librdkafka's own limit for `linger.ms`.
    report.unless(
        linger <= Duration::from_secs(900),
        "spec.producer.linger",
        format!("`{}` is out of range", producer.linger),
        "write `0s` to `15m`",
    );
    report.unless(
        (1024..=i32::MAX as u64).contains(&producer.batch_bytes.0),
        "spec.producer.batchBytes",
        format!("`{}` is out of range", producer.batch_bytes),
        "write `1Ki` up to 2 GiB",
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::camera_stream::Encoding;

    /// `max.message.bytes` of a topic that somebody made without a word about it: 1 MiB and a batch's 12 bytes.
    const KAFKA_DEFAULT_LIMIT: u64 = 1_048_588;

    #[test]
    fn by_default_every_record_fits_a_topic_of_kafkas_defaults() {
        let largest = Encoding::default().max_frame_bytes;
        for format in [FrameFormat::Jpeg, FrameFormat::Json] {
            assert!(largest_record(largest, format) <= KAFKA_DEFAULT_LIMIT, "{format:?}");
        }
    }

    #[test]
    fn a_json_record_is_a_third_larger_than_its_frame() {
        assert_eq!(largest_record(ByteSize(300), FrameFormat::Jpeg), 300 + RECORD_OVERHEAD);
        assert_eq!(largest_record(ByteSize(300), FrameFormat::Json), 400 + RECORD_OVERHEAD);
        assert_eq!(largest_record(ByteSize(u64::MAX), FrameFormat::Json), u64::MAX);
    }
}
