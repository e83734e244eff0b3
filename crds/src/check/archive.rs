//! What an archive has to keep to.

use super::Report;
use crate::{
    api::{
        archive::{Archive, S3},
        frame_sink::Output,
        units::ByteSize,
    },
    problem::FieldPath,
};

/// The least that `maxBytesPerSecond` may be.
const SLOWEST: ByteSize = ByteSize(64 << 10);

pub(super) fn check(archive: &Archive, output: &Output, report: &mut Report<'_>) {
    let Archive::S3(s3) = archive;
    match output {
        Output::JpegFiles(_) => report.add(
            "spec.archive",
            "each frame would be an object: only what is closed as a whole is uploaded",
            "use `output.video` with `segment`, or `output.dataset` with `rotate`",
        ),
        Output::Video(video) => report.unless(
            video.segment.is_some(),
            "spec.archive",
            "without `segment` a video is one file that grows on and is never closed",
            "give `output.video.segment`",
        ),
        Output::Dataset(dataset) => report.unless(
            dataset.rotate.is_some(),
            "spec.archive",
            "without `rotate` a data set is one CSV that grows on and is never closed",
            "give `output.dataset.rotate`",
        ),
    }
    check_s3(s3, report);
}

fn check_s3(s3: &S3, report: &mut Report<'_>) {
    let at = FieldPath::of("spec.archive.s3");
    let keys = [
        ("accessKeyIdSecretRef", &s3.access_key_id_secret_ref, &s3.secret_access_key_secret_ref),
        ("secretAccessKeySecretRef", &s3.secret_access_key_secret_ref, &s3.access_key_id_secret_ref),
    ];
    for (field, own, other) in keys {
        if own.is_none() && other.is_some() {
            report.add(
                at.key(field),
                "it is missing, and an access key is two values",
                "name the Secret and its key: `{name: …, key: …}`; or take both out, for the identity of the machine or the pod",
            );
        }
    }
    let both = s3.ca_secret_ref.is_some() && s3.ca_config_map_ref.is_some();
    report.unless(!both, "spec.archive.s3.caConfigMapRef", "there is `caSecretRef` beside it", "keep one of them");
    let plain = s3.endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://"));
    report.unless(
        !plain || s3.allow_http,
        "spec.archive.s3.endpoint",
        "without TLS, whoever listens on the way sees the recordings",
        "write `https://…`, or set `allowHttp: true` where the network is trusted",
    );
    if let Some(rate) = s3.max_bytes_per_second {
        report.unless(
            rate >= SLOWEST,
            "spec.archive.s3.maxBytesPerSecond",
            format!("`{rate}` is too slow"),
            format!("write at least `{SLOWEST}`"),
        );
    }
}
