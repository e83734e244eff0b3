//! The source `device` of a `CameraStream`: a camera of the machine itself.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a device's path may look like; also in the CRD.
pub const DEVICE_PATTERN: &str = r"^/dev/.+";
/// What a device's picture size may look like; also in the CRD.
pub const DEVICE_SIZE_PATTERN: &str = r"^[1-9][0-9]{0,4}x[1-9][0-9]{0,4}$";
/// What an extended resource of Kubernetes may be called; also in the CRD.
pub const EXTENDED_RESOURCE_PATTERN: &str =
    r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$";

/// A camera that Linux knows as a Video4Linux2 device: most USB cameras, and capture cards. MJPEG is passed through; raw pictures
/// are encoded as JPEG with `encoding.quality`. It is set to the frame rate that it offers nearest above `frameRate.target` (30
/// without it), and what it sends above that is dropped and counted. One that is unplugged is taken up again when it is back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceSource {
    /// Its path. `/dev/v4l/by-id/…` stays with a camera wherever it is plugged in, `/dev/v4l/by-path/…` with a socket;
    /// `/dev/video0` is whichever came first. `edgereel discover` lists them.
    #[schemars(length(max = 1024), regex(pattern = DEVICE_PATTERN))]
    pub path: String,
    /// How it sends its pictures. Default: `auto`.
    #[serde(default)]
    pub format: DeviceFormat,
    /// Width × height in pixels, as in `1920x1080`; one that it does not offer is an error which lists what it offers. Default: the
    /// largest up to 1280x720 that it sends as often as is wanted; if all are larger, the smallest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = DEVICE_SIZE_PATTERN))]
    pub size: Option<String>,
    /// Its own settings, by their names in small letters with `_` between (`v4l2-ctl --list-ctrls`), as in
    /// `{brightness: 128, auto_exposure: 1, exposure_time_absolute: 250}`. They are set whenever it is opened, and stay as they are
    /// afterwards. One that it does not have, or a value out of its range, is an error which tells what it has. Default: left as
    /// they are.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub controls: BTreeMap<String, i32>,
    /// For Kubernetes: the extended resource by which a device plugin gives the device to a pod, as in `squat.ai/gate-camera`. The
    /// pod takes one of it. Without a device plugin no pod may open a device of its node; one that comes by another way needs
    /// `template.resources` or `template.podOverrides` in its place. Default: none; `edgereel run` needs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 316), regex(pattern = EXTENDED_RESOURCE_PATTERN))]
    pub resource: Option<String>,
}

/// How a device sends its pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum DeviceFormat {
    /// `mjpeg` where it is offered; else the raw format that takes the least work at the wanted size and rate.
    #[default]
    Auto,
    /// JPEG pictures (`MJPG`, `JPEG`), which are passed through.
    Mjpeg,
    /// YUV 4:2:2, packed: what every USB camera has.
    Yuyv,
    /// YUV 4:2:2, packed the other way.
    Uyvy,
    /// YUV 4:2:0 in two planes.
    Nv12,
    /// YUV 4:2:0 in three planes (`YU12`, also called I420).
    Yu12,
    /// Red, green and blue.
    Rgb24,
    /// Blue, green and red.
    Bgr24,
    /// Brightness alone.
    Grey,
}

impl DeviceFormat {
    /// As it stands in a resource.
    pub fn as_str(self) -> &'static str {
        match self {
            DeviceFormat::Auto => "auto",
            DeviceFormat::Mjpeg => "mjpeg",
            DeviceFormat::Yuyv => "yuyv",
            DeviceFormat::Uyvy => "uyvy",
            DeviceFormat::Nv12 => "nv12",
            DeviceFormat::Yu12 => "yu12",
            DeviceFormat::Rgb24 => "rgb24",
            DeviceFormat::Bgr24 => "bgr24",
            DeviceFormat::Grey => "grey",
        }
    }
}

impl DeviceSource {
    /// Width and height in pixels, where they are given as they should be.
    pub fn pixels(&self) -> Option<(u32, u32)> {
        let (width, height) = self.size.as_deref()?.split_once('x')?;
        Some((width.parse().ok()?, height.parse().ok()?))
    }
}
