//! Pictures out of a device's own memory, as V4L2's streaming gives them. No wait outlasts the wish for it.

use std::{
    os::fd::AsFd,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use edgereel_crds::status::Reason;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, poll},
};
use v4l2r::{
    Format, QueueType,
    bindings::{v4l2_captureparm, v4l2_fract, v4l2_streamparm, v4l2_streamparm__bindgen_ty_1},
    ioctl::{self, BufferFlags, DqBufError, DqBufIoctlError, PlaneMapping, QBufIoctlError, QueryBuffer, V4l2Buffer},
    memory::MemoryType,
};

use super::{
    choice::Choice,
    node::{Node, PICTURES, errno},
    offer::Size,
};
use crate::source::SourceError;

/// Pictures that a device may write while one is read.
const BUFFERS: u32 = 4;
/// How soon a wait notices that nobody waits any more.
const LOOK: u16 = 100;
/// Who had the device before may be about to let it go: our own last reading, or a program that ends.
const LETTING_GO: Duration = Duration::from_secs(1);

/// What a device gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given<'a> {
    /// The picture, which may be empty.
    pub bytes: &'a [u8],
    /// The device says that a part of it is missing or wrong.
    pub damaged: bool,
    /// So many before it came and were not taken.
    pub missed: u32,
}

/// A device that sends.
pub struct Capture {
    node: Node,
    buffers: Vec<PlaneMapping>,
    /// The number of the last picture.
    last: Option<u32>,
}

/// The struct of `VIDIOC_S_PARM` for v4l2r.
struct Parameters(v4l2_streamparm);

impl From<Parameters> for v4l2_streamparm {
    fn from(parameters: Parameters) -> Self {
        parameters.0
    }
}

impl From<v4l2_streamparm> for Parameters {
    fn from(answer: v4l2_streamparm) -> Self {
        Parameters(answer)
    }
}

/// Sets a device to what was chosen. Gives the size that it has now, and how many bytes there are from one row to the next.
pub fn set(node: &mut Node, choice: &Choice, given_up: &AtomicBool) -> Result<(Size, usize), SourceError> {
    let begun = Instant::now();
    let format = Format::from((choice.code, (choice.size.0 as usize, choice.size.1 as usize)));
    let set: Format = loop {
        let why = match ioctl::s_fmt::<_, Format>(node, (PICTURES, &format)) {
            Ok(set) => break set,
            Err(error) => errno(error),
        };
        if why != Errno::EBUSY || begun.elapsed() > LETTING_GO || given_up.load(Ordering::Relaxed) {
            return Err(node.failed("cannot be set", why));
        }
        thread::sleep(Duration::from_millis(LOOK.into()));
    };
    let name = choice.format.as_str();
    if set.pixelformat != choice.code {
        let message = format!("it offers `{name}` and does not take it: take another `format`");
        return Err(node.error(Reason::InvalidConfiguration, format!("spec.source.device.format: {message}")));
    }
    if let Some((parts, of)) = choice.interval.map(super::offer::Interval::fraction) {
        let timeperframe = v4l2_fract { numerator: parts, denominator: of };
        let capture = v4l2_captureparm { timeperframe, ..Default::default() };
        let parm = v4l2_streamparm__bindgen_ty_1 { capture };
        let parameters = Parameters(v4l2_streamparm { type_: PICTURES as u32, parm });
        // One that cannot be set has the rate that it has: the pacer does the rest.
        let _ = ioctl::s_parm::<_, Parameters>(node, parameters);
    }
    let stride = set.plane_fmt.first().map_or(0, |plane| plane.bytesperline as usize);
    Ok((Size(set.width, set.height), stride))
}

impl Capture {
    /// Lets a device that is set send.
    pub fn start(node: Node) -> Result<Self, SourceError> {
        let no_memory = |errno| node.failed("has no memory for pictures", errno);
        let count: usize =
            ioctl::reqbufs(&node, PICTURES, MemoryType::Mmap, BUFFERS).map_err(|error| no_memory(errno(error)))?;
        let mut buffers = vec![];
        for index in 0..count {
            let about = ioctl::querybuf::<QueryBuffer>(&node, PICTURES, index);
            let about = about.map_err(|_| no_memory(Errno::EINVAL))?;
            let plane = about.planes.first().ok_or_else(|| no_memory(Errno::EINVAL))?;
            let mapping = ioctl::mmap(&node, plane.mem_offset, plane.length);
            buffers.push(mapping.map_err(|error| no_memory(errno(error)))?);
        }
        if buffers.is_empty() {
            return Err(no_memory(Errno::ENOMEM));
        }
        let capture = Capture { node, buffers, last: None };
        (0..count).try_for_each(|index| capture.hand_back(index))?;
        let started = ioctl::streamon(&capture.node, PICTURES);
        started.map_err(|error| capture.node.failed("does not start", errno(error)))?;
        Ok(capture)
    }

    fn hand_back(&self, index: usize) -> Result<(), SourceError> {
        let buffer = V4l2Buffer::new(QueueType::VideoCapture, index as u32, MemoryType::Mmap);
        let queued = ioctl::qbuf::<_, ()>(&self.node, buffer);
        queued.map_err(|error| match error {
            ioctl::IoctlConvertError::IoctlError(QBufIoctlError::Other(error)) => {
                self.node.failed("takes no memory for pictures", errno(error))
            }
            _ => self.node.failed("takes no memory for pictures", Errno::EINVAL),
        })
    }

    /// Waits for the next picture and gives it to `take`; what that says goes back. Nothing when nobody waits any more.
    pub fn next<T>(
        &mut self,
        given_up: &AtomicBool,
        take: impl FnOnce(Given<'_>) -> T,
    ) -> Result<Option<T>, SourceError> {
        let buffer = loop {
            if given_up.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let mut waiting = [PollFd::new(self.node.as_fd(), PollFlags::POLLIN)];
            match poll(&mut waiting, LOOK) {
                Ok(0) | Err(Errno::EINTR | Errno::EAGAIN) => continue,
                Ok(_) => {}
                Err(errno) => return Err(self.node.failed("cannot be waited for", errno)),
            }
            let broken = waiting[0].revents().is_none_or(|events| !events.contains(PollFlags::POLLIN));
            match ioctl::dqbuf::<V4l2Buffer>(&self.node, PICTURES) {
                Ok(buffer) => break buffer,
                Err(DqBufError::IoctlError(DqBufIoctlError::NotReady)) if !broken => {}
                // No picture, and not one to come: the queue has ended.
                Err(DqBufError::IoctlError(DqBufIoctlError::NotReady | DqBufIoctlError::Eos)) => {
                    return Err(self.node.failed("has stopped sending", Errno::EIO));
                }
                Err(DqBufError::IoctlError(DqBufIoctlError::Other(error))) => {
                    return Err(self.node.failed("has stopped sending", errno(error)));
                }
                Err(DqBufError::ConversionError(error)) => {
                    let message = format!("its driver gives what no driver should: {error}");
                    return Err(self.node.error(Reason::CameraProtocolError, message));
                }
            }
        };
        let index = buffer.index() as usize;
        let Some(memory) = self.buffers.get(index) else {
            let message = format!("its driver gives memory {index}, and there is none");
            return Err(self.node.error(Reason::CameraProtocolError, message));
        };
        let used = (*buffer.get_first_plane().bytesused as usize).min(memory.size());
        let given = Given {
            bytes: &memory.as_ref()[..used],
            damaged: buffer.flags().contains(BufferFlags::ERROR),
            missed: missed(self.last.replace(buffer.sequence()), buffer.sequence()),
        };
        let taken = take(given);
        self.hand_back(index)?;
        Ok(Some(taken))
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        // One that is gone sends no more.
        let _ = ioctl::streamoff(&self.node, PICTURES);
    }
}

/// How many pictures came between two, by their numbers. Drivers that do not number them give all the same; one that begins
/// anew has lost nothing that is known of.
fn missed(last: Option<u32>, number: u32) -> u32 {
    const BEGUN_ANEW: u32 = 10_000;
    let between = last.map_or(0, |last| number.wrapping_sub(last).saturating_sub(1));
    if between < BEGUN_ANEW { between } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_taken_shows_in_the_numbers() {
        for (last, number, expected) in [
            (None, 7, 0),
            (Some(7), 8, 0),
            (Some(7), 11, 3),
            (Some(u32::MAX), 0, 0),
            (Some(u32::MAX), 2, 2),
            (Some(5), 5, 0),
            (Some(900), 0, 0),
        ] {
            assert_eq!(missed(last, number), expected, "{last:?} {number}");
        }
    }
}
