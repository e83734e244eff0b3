//! H.264 in MP4, with the time of each frame, for browsers and phones.

use std::path::{Path, PathBuf};

use edgereel_crds::status::Reason;
use edgereel_runtime::fault::Fault;
use ffmpeg_next::{
    Dictionary, Error, Packet, Rational, codec, color, encoder,
    format::{self, Pixel, context},
    frame::Video as Picture,
};
use jiff::SignedDuration;

use super::target::full;
use crate::ffmpeg::{init, single_threaded, words};

/// Times count so many ticks a second, as is usual for video.
const TICKS: i32 = 90_000;
/// A key frame comes after this at the latest: players seek by them.
const KEY_EVERY: SignedDuration = SignedDuration::from_secs(2);
/// The encoder, and its settings: about what looks like the original, at a speed that an edge box can take.
const ENCODER: &str = "libx264";
const SETTINGS: [(&str, &str); 2] = [("preset", "veryfast"), ("crf", "20")];

/// Whether this machine has the encoder.
///
/// # Errors
/// In words, what to do.
pub fn available() -> Result<(), Fault> {
    init();
    match encoder::find_by_name(ENCODER) {
        Some(_) => Ok(()),
        None => {
            let message = format!(
                "FFmpeg's libraries on this machine have no `{ENCODER}`, which encodes H.264 (Debian's libavcodec has it): \
                 export to `.avi`, which needs no encoder"
            );
            Err(Fault::new(Reason::InvalidConfiguration, message))
        }
    }
}

/// A file that is written.
pub struct Mp4 {
    path: PathBuf,
    output: context::Output,
    encoder: encoder::Video,
    /// Of the file.
    base: Rational,
    /// The usual time from one frame to the next, in ticks.
    step: i64,
    last: Option<i64>,
}

fn ticks(time: SignedDuration) -> i64 {
    i64::try_from(time.as_micros() * i128::from(TICKS) / 1_000_000).unwrap_or(i64::MAX)
}

impl Mp4 {
    /// Begins a file for pictures of this size, which usually follow each other after `step`.
    pub fn begin(path: &Path, (width, height): (u32, u32), step: SignedDuration) -> Result<Self, Fault> {
        available()?;
        let step = step.clamp(SignedDuration::from_millis(4), SignedDuration::from_secs(10));
        let begun = || -> Result<_, Error> {
            let codec = encoder::find_by_name(ENCODER).ok_or(Error::EncoderNotFound)?;
            let mut output = format::output_as(path, "mp4")?;
            let mut context = single_threaded(codec::Context::new_with_codec(codec));
            // The file has the encoder's headers once, at its beginning.
            context.set_flags(codec::Flags::GLOBAL_HEADER);
            let mut video = context.encoder().video()?;
            // Half of the chroma's side has to be whole.
            video.set_width(width & !1);
            video.set_height(height & !1);
            video.set_format(Pixel::YUV420P);
            video.set_time_base(Rational(1, TICKS));
            video.set_gop((KEY_EVERY.as_millis() / step.as_millis()).clamp(1, 250) as u32);
            // What JPEG's colours mean: players guess by the size otherwise.
            video.set_color_range(color::Range::MPEG);
            video.set_colorspace(color::Space::SMPTE170M);
            let settings: Dictionary<'_> = SETTINGS.into_iter().collect();
            let encoder = video.open_as_with(codec, settings)?.0;
            let encoder = encoder::Video(encoder);
            let mut stream = output.add_stream_with(&encoder)?;
            stream.set_time_base(Rational(1, TICKS));
            let mut options = Dictionary::new();
            // The index stands before the pictures: a browser shows the first ones while the rest is on its way.
            options.set("movflags", "+faststart");
            drop(output.write_header_with(options)?);
            let base = output.stream(0).ok_or(Error::StreamNotFound)?.time_base();
            Ok((output, encoder, base))
        };
        let (output, encoder, base) = begun().map_err(|e| failed(path, e))?;
        Ok(Mp4 { path: path.to_owned(), output, encoder, base, step: ticks(step), last: None })
    }

    /// Adds a picture that is shown at this time.
    pub fn add(&mut self, picture: &mut Picture, time: SignedDuration) -> Result<(), Fault> {
        // Two frames of one moment follow each other as closely as can be.
        let at = ticks(time).max(self.last.map_or(0, |last| last + 1));
        self.last = Some(at);
        picture.set_width(picture.width() & !1);
        picture.set_height(picture.height() & !1);
        picture.set_pts(Some(at));
        picture.set_kind(ffmpeg_next::picture::Type::None);
        self.encoder.send_frame(picture).and_then(|()| self.drain()).map_err(|e| failed(&self.path, e))
    }

    fn drain(&mut self) -> Result<(), Error> {
        let mut packet = Packet::empty();
        while self.encoder.receive_packet(&mut packet).is_ok() {
            packet.set_stream(0);
            packet.set_duration(self.step);
            packet.rescale_ts(Rational(1, TICKS), self.base);
            packet.write_interleaved(&mut self.output)?;
        }
        Ok(())
    }

    /// Ends the file.
    pub fn finish(mut self) -> Result<(), Fault> {
        let ended = self.encoder.send_eof().and_then(|()| self.drain()).and_then(|()| self.output.write_trailer());
        ended.map_err(|e| failed(&self.path, e))
    }
}

fn failed(path: &Path, error: Error) -> Fault {
    match error {
        Error::Other { errno } if errno > 1 => full("write", path, &std::io::Error::from_raw_os_error(errno)),
        error => {
            let message = format!("FFmpeg cannot encode {} as H.264: {}", path.display(), words(error));
            Fault::new(Reason::InternalError, message)
        }
    }
}
