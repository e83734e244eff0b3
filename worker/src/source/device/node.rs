//! A device's file, and what it says of itself.

use std::{
    fs::{self, File, OpenOptions},
    io::{Error, ErrorKind},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
        unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    },
};

use edgereel_crds::status::Reason;
use edgereel_runtime::plain::plain;
use nix::{
    errno::Errno,
    libc,
    sys::stat::major,
    unistd::{Gid, Group},
};
use v4l2r::{
    Format, PixelFormat, QueueType,
    bindings::{v4l2_frmivalenum, v4l2_frmsizeenum},
    ioctl::{self, Capabilities, Capability, FormatIterator, FrmIvalTypes, FrmSizeTypes},
};

use super::{
    list::{self, printable},
    offer::{Interval, Mode, Offer, Rates, Size, known},
};
use crate::source::{Again, SourceError};

/// What Linux numbers all devices of Video4Linux with (source: its list of device numbers).
const VIDEO: u64 = 81;
/// The queue that pictures come from.
pub const PICTURES: QueueType = QueueType::VideoCapture;
/// A driver's lists are read so far; the longest known have some fifty entries.
const MOST: u32 = 256;
/// Of a device that makes any size, these are looked at, beside the one that is wanted.
const USUAL_SIZES: [Size; 5] = [Size(1920, 1080), Size(1280, 720), Size(800, 600), Size(640, 480), Size(320, 240)];

/// An open device that pictures can be captured from.
#[derive(Debug)]
pub struct Node {
    path: String,
    file: File,
    /// What it is.
    pub capability: Capability,
}

impl AsRawFd for Node {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

impl AsFd for Node {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Node {
    /// Opens it, so that no call waits for a picture. A path that leads elsewhere by links is followed anew each time.
    pub fn open(path: &str) -> Result<Self, SourceError> {
        // Before it is opened: there are devices that do something when they are.
        let about = fs::metadata(path).map_err(|error| not_opened(path, &error))?;
        if !about.file_type().is_char_device() || major(about.rdev()) != VIDEO {
            return Err(invalid(path, format!("it is no video device; {}", there())));
        }
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
        let opened = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path);
        let file = opened.map_err(|error| not_opened(path, &error))?;
        let capability: Capability =
            ioctl::querycap(&file).map_err(|error| failed(path, "does not say what it is", errno(error)))?;
        let node = Node { path: path.into(), file, capability };
        match not_a_camera(node.capability.device_caps()) {
            None => Ok(node),
            Some(why) => Err(invalid(path, format!("{why}; {}", there()))),
        }
    }

    /// An error that names it.
    pub fn error(&self, reason: Reason, message: impl std::fmt::Display) -> SourceError {
        of(&self.path, reason, message)
    }

    /// A system call has failed.
    pub fn failed(&self, doing: &str, why: Errno) -> SourceError {
        failed(&self.path, doing, why)
    }

    /// All formats, sizes and rates. Of a device that takes any size, `wanted` is among them if it takes that.
    pub fn offer(&self, wanted: Option<Size>) -> Offer {
        let mut offer = Offer::default();
        for described in FormatIterator::new(self, PICTURES).take(MOST as usize) {
            let code = described.pixelformat;
            if known(code).is_none() {
                offer.others.push(printable(&code.to_string()));
                continue;
            }
            let sizes = self.sizes(code, wanted);
            offer.modes.extend(sizes.into_iter().filter_map(|size| Mode::new(code, size, self.rates(code, size))));
        }
        offer
    }

    fn sizes(&self, code: PixelFormat, wanted: Option<Size>) -> Vec<Size> {
        let mut sizes = vec![];
        for index in 0..MOST {
            let Ok(entry) = ioctl::enum_frame_sizes::<v4l2_frmsizeenum>(self, index, code) else { break };
            match entry.size() {
                Some(FrmSizeTypes::Discrete(size)) => sizes.push(Size(size.width, size.height)),
                Some(FrmSizeTypes::StepWise(range)) => {
                    let side = |side: u32, min: u32, max: u32, step: u32| {
                        (min..=max).contains(&side) && (side - min).is_multiple_of(step.max(1))
                    };
                    let taken = |size: &Size| {
                        side(size.0, range.min_width, range.max_width, range.step_width)
                            && side(size.1, range.min_height, range.max_height, range.step_height)
                    };
                    let largest = Size(range.max_width, range.max_height);
                    sizes.extend(wanted.into_iter().chain(USUAL_SIZES).chain([largest]).filter(taken));
                    break;
                }
                None => break,
            }
        }
        if sizes.is_empty() {
            // It does not list them. What it is set to it can do, and what is wanted shows when it is set.
            let now = ioctl::g_fmt::<Format>(self, PICTURES).ok().map(|now| Size(now.width, now.height));
            sizes.extend(wanted.or(now));
        }
        sizes.sort();
        sizes.dedup();
        sizes
    }

    fn rates(&self, code: PixelFormat, Size(width, height): Size) -> Rates {
        let mut all = vec![];
        for index in 0..MOST {
            let entry = ioctl::enum_frame_intervals::<v4l2_frmivalenum>(self, index, code, width, height);
            let Ok(entry) = entry else { break };
            match entry.intervals() {
                Some(FrmIvalTypes::Discrete(interval)) => {
                    all.extend(Interval::new(interval.numerator, interval.denominator));
                }
                Some(FrmIvalTypes::StepWise(range)) => {
                    let [fastest, slowest] =
                        [range.min, range.max].map(|end| Interval::new(end.numerator, end.denominator));
                    // A driver may say that it waits for ever.
                    return fastest
                        .map_or(Rates::Unknown, |fastest| Rates::Between(slowest.unwrap_or(fastest), fastest));
                }
                None => break,
            }
        }
        if all.is_empty() { Rates::Unknown } else { Rates::Of(all) }
    }
}

/// v4l2r's errors are those of its own nix.
pub fn errno(error: impl Into<v4l2r::nix::errno::Errno>) -> Errno {
    Errno::from_raw(error.into() as i32)
}

/// Why pictures cannot be captured from what has these abilities.
fn not_a_camera(able: Capabilities) -> Option<&'static str> {
    let is = |what| able.intersects(what);
    if is(Capabilities::VIDEO_CAPTURE) {
        return (!is(Capabilities::STREAMING))
            .then_some("it gives its pictures by read() alone, which is not supported");
    }
    Some(if is(Capabilities::META_CAPTURE) {
        "it gives a camera's metadata and no pictures: its pictures come from the device before it"
    } else if is(Capabilities::VIDEO_CAPTURE_MPLANE) {
        "it is a part of a camera that is built in (multi-planar), which needs libcamera and is not supported"
    } else if is(Capabilities::VIDEO_M2M | Capabilities::VIDEO_M2M_MPLANE) {
        "it encodes or decodes video and is no camera"
    } else {
        "it gives no pictures"
    })
}

/// What can be named instead.
fn there() -> String {
    match list::names().as_slice() {
        [] => "there is no camera at this machine: plug one in".into(),
        names => format!("name one of those that are there: {}", names.join(", ")),
    }
}

fn of(path: &str, reason: Reason, message: impl std::fmt::Display) -> SourceError {
    SourceError::new(reason, format!("{}: {message}", printable(path)))
}

fn invalid(path: &str, message: String) -> SourceError {
    of(path, Reason::InvalidConfiguration, format!("spec.source.device.path: {message}"))
}

fn gone(path: &str) -> SourceError {
    of(path, Reason::CameraUnreachable, "it was unplugged: it is taken up again when it is back").again(Again::Soon)
}

/// Another program has it.
fn busy(path: &str) -> SourceError {
    let who = list::holder(path).map_or(String::from("another program"), |who| format!("another program ({who})"));
    let message = format!("{who} captures from it, and a device has one reader: end that one");
    of(path, Reason::CameraUnreachable, message).again(Again::Soon)
}

/// What the system's answer to opening it means.
fn not_opened(path: &str, error: &Error) -> SourceError {
    match error.raw_os_error().map(Errno::from_raw) {
        _ if error.kind() == ErrorKind::NotFound => {
            let message = format!("there is no such device: plug it in, or {}", there());
            of(path, Reason::CameraUnreachable, message).again(Again::Soon)
        }
        Some(Errno::EACCES) => {
            let group = fs::metadata(path).map(|about| group(about.gid())).unwrap_or_else(|_| "`video`".into());
            let message = format!(
                "this user may not open it: add the user to its group, {group}; in Kubernetes, \
                 `spec.template.podSecurityContext.supplementalGroups`"
            );
            of(path, Reason::CameraUnauthorized, message)
        }
        Some(Errno::EPERM) => {
            let message = "this container may not open it: give it the device (`docker run --device`); in Kubernetes, \
                           `spec.source.device.resource`";
            of(path, Reason::CameraUnauthorized, message)
        }
        Some(Errno::ENODEV | Errno::ENXIO) => gone(path),
        Some(Errno::EBUSY) => busy(path),
        _ => of(path, Reason::CameraUnreachable, format!("cannot be opened: {}", plain(error))),
    }
}

fn group(gid: u32) -> String {
    let name = Group::from_gid(Gid::from_raw(gid)).ok().flatten().map(|group| group.name);
    name.map_or(gid.to_string(), |name| format!("`{name}` ({gid})"))
}

/// What the system's answer to anything else means.
fn failed(path: &str, doing: &str, why: Errno) -> SourceError {
    match why {
        Errno::ENODEV | Errno::ENXIO => gone(path),
        Errno::EBUSY => busy(path),
        Errno::ENOSPC => {
            let message = "the USB bus has no room for its pictures: plug it in at another controller, or take `format: mjpeg`, a \
                           smaller `size` or a lower `frameRate.target`";
            of(path, Reason::CameraUnreachable, message)
        }
        errno => of(path, Reason::CameraUnreachable, format!("it {doing}: {}", errno.desc())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_video_device_is_not_even_opened() {
        for path in ["/dev/null", "/dev", "/proc/self/exe"] {
            let error = Node::open(path).expect_err(path);
            assert_eq!(error.reason, Reason::InvalidConfiguration, "{error}");
            assert!(
                error.message.starts_with(&format!("{path}: spec.source.device.path: it is no video device; ")),
                "{error}"
            );
        }
    }

    #[test]
    fn what_is_not_there_is_looked_for_again_soon() {
        let error = Node::open("/dev/v4l/by-id/none").expect_err("there is none");
        assert_eq!((error.reason, error.again), (Reason::CameraUnreachable, Again::Soon));
        assert!(error.message.contains("there is no such device: plug it in, or "), "{error}");
    }

    #[test]
    fn each_answer_of_the_system_says_what_to_do() {
        let opened = |errno: i32| not_opened("/dev/video0", &Error::from_raw_os_error(errno));
        for (error, reason, words) in [
            (opened(libc::EPERM), Reason::CameraUnauthorized, "give it the device (`docker run --device`)"),
            (opened(libc::ENODEV), Reason::CameraUnreachable, "it was unplugged"),
            (opened(libc::EBUSY), Reason::CameraUnreachable, "captures from it, and a device has one reader"),
            (opened(libc::EIO), Reason::CameraUnreachable, "cannot be opened: Input/output error"),
            (
                failed("/dev/video0", "does not start", Errno::ENOSPC),
                Reason::CameraUnreachable,
                "the USB bus has no room",
            ),
            (
                failed("/dev/video0", "does not start", Errno::EIO),
                Reason::CameraUnreachable,
                "it does not start: I/O error",
            ),
        ] {
            assert_eq!(error.reason, reason, "{error}");
            assert!(error.message.starts_with("/dev/video0: ") && error.message.contains(words), "{error}");
            assert!(!error.message.contains("os error"), "{error}");
        }
        let denied = not_opened("/dev/null", &Error::from_raw_os_error(libc::EACCES));
        assert!(denied.message.contains("add the user to its group, `root` (0)"), "{denied}");
    }

    #[test]
    fn what_gives_no_pictures_says_what_it_is() {
        use Capabilities as Able;
        assert_eq!(not_a_camera(Able::VIDEO_CAPTURE | Able::STREAMING | Able::EXT_PIX_FORMAT), None);
        for (able, words) in [
            (Able::VIDEO_CAPTURE | Able::READWRITE, "by read() alone"),
            (Able::META_CAPTURE | Able::STREAMING, "metadata and no pictures"),
            (Able::VIDEO_CAPTURE_MPLANE | Able::STREAMING, "libcamera"),
            (Able::VIDEO_M2M | Able::STREAMING, "encodes or decodes"),
            (Able::VIDEO_OUTPUT, "no pictures"),
        ] {
            assert!(not_a_camera(able).is_some_and(|why| why.contains(words)), "{able}");
        }
    }
}
