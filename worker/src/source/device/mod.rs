//! Cameras of the machine itself: Video4Linux2 devices, as most USB cameras are. JPEG is passed through, raw pictures are encoded.
//!
//! - [`list`] knows which there are, [`node`] opens one and asks what it offers ([`offer`]);
//! - [`choice`] decides what of that is taken, [`controls`] sets what a camera can be told beside that;
//! - [`capture`] reads its pictures, [`raw`] encodes those that are no JPEG.

mod capture;
pub mod choice;
mod controls;
pub mod list;
pub mod node;
pub mod offer;
mod raw;

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicBool},
    time::Instant,
};

use bytes::Bytes;
use capture::{Capture, Given};
use choice::{NotOffered, Wanted, choose};
use edgereel_crds::{
    camera_stream::{CameraStreamSpec, FrameRate},
    device::DeviceSource,
    status::Reason,
};
use edgereel_frame::reasons::DropReason;
use futures::future::BoxFuture;
use node::Node;
use raw::Raw;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tracing::info;

use super::{
    FrameStream, Part, Source, SourceError,
    jpegs::fixed,
    largest_picture,
    reader::{self, Reading},
};
use crate::pacing::Pacer;

/// So many missed pictures are counted at once at most: a driver may count wrongly.
const MOST_MISSED: u32 = 1000;

/// A camera of the machine.
pub struct Device {
    asked: Asked,
    /// Who reads it: one at a time, for whoever read it before may hang in the kernel.
    turn: Arc<Mutex<()>>,
}

/// What a resource asks for.
#[derive(Clone)]
struct Asked {
    path: String,
    wanted: Wanted,
    controls: BTreeMap<String, i32>,
    frame_rate: FrameRate,
    quality: u8,
    /// Larger JPEGs are not passed on, in bytes.
    largest: usize,
}

impl Device {
    /// A camera by its spec.
    pub fn new(spec: &DeviceSource, camera: &CameraStreamSpec) -> Self {
        let asked = Asked {
            path: spec.path.clone(),
            wanted: Wanted::of(spec, camera),
            controls: spec.controls.clone(),
            frame_rate: camera.frame_rate.clone(),
            quality: camera.encoding.quality,
            largest: largest_picture(&camera.encoding).as_usize(),
        };
        Device { asked, turn: Arc::default() }
    }
}

impl Source for Device {
    fn connect(&mut self) -> BoxFuture<'_, Result<Box<dyn FrameStream>, SourceError>> {
        Box::pin(async {
            let turn = self.turn.clone().lock_owned().await;
            let asked = self.asked.clone();
            reader::open(move |given_up| Opened::new(&asked, given_up, turn)).await
        })
    }
}

/// A camera that sends.
struct Opened {
    capture: Capture,
    pictures: Pictures,
    given_up: Arc<AtomicBool>,
    /// Given back last, when the device is closed.
    _turn: OwnedMutexGuard<()>,
}

impl Opened {
    fn new(asked: &Asked, given_up: Arc<AtomicBool>, turn: OwnedMutexGuard<()>) -> Result<Self, SourceError> {
        let mut node = Node::open(&asked.path)?;
        let offer = node.offer(asked.wanted.size);
        let choice = choose(&offer, &asked.wanted).map_err(|NotOffered { field, message }| match field {
            Some(field) => node.error(Reason::InvalidConfiguration, format!("spec.source.device.{field}: {message}")),
            None => node.error(Reason::CameraProtocolError, message),
        })?;
        let (size, stride) = capture::set(&mut node, &choice, &given_up)?;
        if let Some(wanted) = asked.wanted.size
            && wanted != size
        {
            let message = format!("`{wanted}` is not taken, it makes {size} of it: write that, or take `size` out");
            return Err(node.error(Reason::InvalidConfiguration, format!("spec.source.device.size: {message}")));
        }
        controls::set(&node, &asked.controls)?;
        let raw = Raw::new(choice.format, size, stride, asked.quality)
            .map_err(|error| node.error(Reason::InternalError, error))?;
        let (format, rate) = (choice.format.as_str(), choice.interval.map(offer::Interval::rate));
        info!(device = asked.path, format, %size, rate, "the device is set");
        let pictures = Pictures { raw, pacer: fixed(&asked.frame_rate), largest: asked.largest };
        Ok(Opened { capture: Capture::start(node)?, pictures, given_up, _turn: turn })
    }
}

impl Reading for Opened {
    fn read(&mut self, give: &mut dyn FnMut(Part) -> bool) -> Result<bool, SourceError> {
        let Opened { capture, pictures, given_up, .. } = self;
        let taken = capture.next(given_up, |given| (given.missed.min(MOST_MISSED), pictures.part(given)))?;
        let Some((missed, part)) = taken else { return Ok(false) };
        Ok((0..missed).all(|_| give(Part::Skipped(DropReason::overrun))) && give(part))
    }
}

/// Makes parts of what a device gives.
struct Pictures {
    /// For what is no JPEG.
    raw: Option<Raw>,
    pacer: Pacer,
    largest: usize,
}

impl Pictures {
    fn part(&mut self, given: Given<'_>) -> Part {
        match &mut self.raw {
            _ if given.bytes.is_empty() => Part::Skipped(DropReason::empty),
            _ if given.damaged => Part::Skipped(DropReason::truncated),
            None if given.bytes.len() > self.largest => Part::TooLarge(given.bytes.len()),
            None => Part::Picture(Bytes::copy_from_slice(given.bytes)),
            Some(raw) if given.bytes.len() < raw.bytes() => Part::Skipped(DropReason::truncated),
            Some(_) if !self.pacer.admit(Instant::now(), false) => Part::NotWanted,
            Some(raw) => match raw.encode(given.bytes) {
                Ok(Some(jpeg)) => Part::Picture(jpeg),
                Ok(None) | Err(_) => Part::Skipped(DropReason::undecodable),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use edgereel_crds::device::DeviceFormat;
    use offer::Size;

    use super::*;

    fn pictures(format: DeviceFormat, target: Option<f64>) -> Pictures {
        let raw = Raw::new(format, Size(64, 48), 0, 85).expect("an encoder");
        let frame_rate = FrameRate { target, ..FrameRate::default() };
        Pictures { raw, pacer: fixed(&frame_rate), largest: 100 }
    }

    fn given(bytes: &[u8]) -> Given<'_> {
        Given { bytes, damaged: false, missed: 0 }
    }

    #[test]
    fn what_a_device_gives_is_passed_on_or_counted() {
        let mut jpegs = pictures(DeviceFormat::Mjpeg, None);
        assert_eq!(jpegs.part(given(b"\xff\xd8 and more")), Part::Picture(Bytes::from_static(b"\xff\xd8 and more")));
        assert_eq!(jpegs.part(given(b"")), Part::Skipped(DropReason::empty));
        assert_eq!(jpegs.part(given(&[0; 101])), Part::TooLarge(101));
        assert_eq!(jpegs.part(Given { damaged: true, ..given(b"x") }), Part::Skipped(DropReason::truncated));
        let mut raw = pictures(DeviceFormat::Yuyv, None);
        assert!(matches!(raw.part(given(&[128; 64 * 48 * 2])), Part::Picture(jpeg) if jpeg.starts_with(b"\xff\xd8")));
        assert_eq!(raw.part(given(&[128; 64 * 48 * 2 - 1])), Part::Skipped(DropReason::truncated));
    }

    #[test]
    fn raw_pictures_that_are_not_wanted_are_not_encoded() {
        let mut raw = pictures(DeviceFormat::Yuyv, Some(0.5));
        let whole = [128; 64 * 48 * 2];
        assert!(matches!(raw.part(given(&whole)), Part::Picture(_)));
        assert_eq!(raw.part(given(&whole)), Part::NotWanted);
    }
}
