//! What the source `device` of a `CameraStream` has to keep to.

use regex::Regex;

use super::{Report, paths};
use crate::{
    api::{
        camera_stream::{CameraStreamSpec, Source},
        device::{DeviceSource, EXTENDED_RESOURCE_PATTERN},
        name::Kind,
    },
    plan::CameraPlan,
    problem::{FieldPath, shown},
};

const AT: &str = "spec.source.device";
/// No camera's picture is wider or higher: 8K, upright or not, and more.
const LARGEST: u32 = 16_384;

pub(super) fn check(source: &DeviceSource, shares_a_pod: bool, report: &mut Report<'_>) {
    let at = FieldPath::of(AT);
    let example = "write its path, as in `/dev/v4l/by-id/…` or `/dev/video0`; `edgereel discover` lists them";
    if !source.path.starts_with("/dev/") {
        report.add(at.key("path"), format!("`{}` is not a device", shown(&source.path)), example);
    } else if let Err((message, remedy)) = paths::host_path(&source.path) {
        report.add(at.key("path"), message, remedy);
    }
    let fits = |(width, height)| [width, height].into_iter().all(|side| (1..=LARGEST).contains(&side));
    if let Some(size) = &source.size
        && !source.pixels().is_some_and(fits)
    {
        let message = format!("`{}` is not a picture size", shown(size));
        report.add(at.key("size"), message, format!("write width × height, each up to {LARGEST}, as in `1280x720`"));
    }
    for name in source.controls.keys() {
        let plain = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if name.is_empty() || !plain {
            let message = format!("`{}` is no control's name", shown(name));
            let remedy = "write it as `v4l2-ctl --list-ctrls` does: small letters, digits and `_`";
            report.add(at.key("controls").key(name), message, remedy);
        }
    }
    if let Some(resource) = &source.resource {
        check_resource(resource, &at, report);
    }
    let message = "a device is given to a pod of its own";
    report.unless(!shares_a_pod, "spec.workerRef", message, "take it out");
}

fn check_resource(resource: &str, at: &FieldPath, report: &mut Report<'_>) {
    let named = Regex::new(EXTENDED_RESOURCE_PATTERN).is_ok_and(|pattern| pattern.is_match(resource));
    let domain = resource.split('/').next().unwrap_or_default();
    if !named {
        let message = format!("`{}` is not an extended resource", shown(resource));
        report.add(at.key("resource"), message, "write it as the device plugin offers it, as in `squat.ai/video`");
    } else if domain == "kubernetes.io" || domain.ends_with(".kubernetes.io") {
        let message = format!("`{}` is one of Kubernetes' own, and no device", shown(resource));
        report.add(at.key("resource"), message, "name the one that the device plugin offers");
    }
}

/// A device's pictures go to one reader at a time.
pub(super) fn same_device(camera: &CameraPlan, other: &CameraPlan, report: &mut Report<'_>) {
    let (Some(mine), Some(theirs)) = (reads(&camera.spec), reads(&other.spec)) else { return };
    let placed = |camera: &CameraPlan| camera.spec.placement.clone().unwrap_or_default();
    if mine.path == theirs.path && mine.resource == theirs.resource && placed(camera).may_share_node(&placed(other)) {
        let other = Kind::CameraStream.label(&other.name);
        let message = format!("{other} reads `{}` too, and a device has one reader", shown(&mine.path));
        let remedy = "keep one of them: any number of sinks can read its topic";
        report.add(FieldPath::of(AT).key("path"), message, remedy);
    }
}

/// The device that is read, as far as is known all the time.
fn reads(spec: &CameraStreamSpec) -> Option<&DeviceSource> {
    match &spec.source {
        Source::Device(source) if !spec.suspend && spec.active_hours.is_none() => Some(source),
        _ => None,
    }
}
