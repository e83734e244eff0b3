//! Writes the frames of one clip, one after the other.

use std::{
    fs,
    io::{self, Write},
};

use edgereel_crds::status::Reason;
use edgereel_runtime::fault::Fault;
use ffmpeg_next::format::Pixel;
use jiff::{SignedDuration, tz::TimeZone};
use sha2::{Digest, Sha256};

use super::{
    cut::{self, Frame},
    manifest::hex,
    mp4::Mp4,
    picture::Pictures,
    segments::Content,
    target::{Draft, Kind, full, of},
};
use crate::sink::{
    disk::{AppendFile, Disk},
    fault::OutputError,
    video::avi::{Format, Limits, MJPG, write::AviWriter},
};

/// Places for the indexes of so many gibibytes in a clip's header.
const RIFFS: usize = 256;
/// A clip's frame is shown for so long where nothing tells.
const UNTOLD: SignedDuration = SignedDuration::from_millis(40);

/// Why a frame is not in the clip.
pub enum Failure {
    /// It cannot be read.
    Damaged(String),
    /// No frame can be written.
    Fault(Fault),
}

enum Open {
    Avi(AviWriter),
    Mp4(Mp4),
}

/// Writes the frames of one clip.
pub struct Writer<'a> {
    draft: &'a Draft<'a>,
    kind: Kind,
    frames: &'a [Frame],
    zone: &'a TimeZone,
    pictures: Pictures,
    clip: Option<Open>,
    size: Option<(u32, u32)>,
    /// Whether each picture so far is what its record holds.
    exact: bool,
    /// Of the pictures of a directory: checksum and name.
    sums: Vec<(String, String)>,
    written: usize,
}

impl<'a> Writer<'a> {
    /// Of a clip with these frames. `zone` is that of the times in the names of pictures, and, with `burn`, in the pictures.
    pub fn new(draft: &'a Draft<'a>, kind: Kind, frames: &'a [Frame], (zone, burn): (&'a TimeZone, bool)) -> Self {
        Writer {
            draft,
            kind,
            frames,
            zone,
            pictures: Pictures::new(pixel(kind), burn.then(|| zone.clone())),
            clip: None,
            size: None,
            exact: kind != Kind::Mp4,
            sums: vec![],
            written: 0,
        }
    }

    /// Whether each picture so far is what its record holds.
    pub fn is_exact(&self) -> bool {
        self.exact
    }

    /// A video has pictures of one size.
    fn fits(&mut self, size: (u32, u32), frame: &Frame) -> Result<(), Failure> {
        let first = *self.size.get_or_insert(size);
        if first == size {
            return Ok(());
        }
        let message = format!(
            "the pictures change from {}x{} to {}x{} at {}: export what is before and what is after by themselves, or \
             all of it into a directory",
            first.0, first.1, size.0, size.1, frame.time
        );
        Err(Failure::Fault(Fault::new(Reason::InvalidConfiguration, message)))
    }

    /// Adds a frame that is shown at this time.
    pub fn add(&mut self, content: Content, frame: &Frame, shown: SignedDuration) -> Result<(), Failure> {
        let fault = |error: OutputError| Failure::Fault(of(error));
        if self.kind == Kind::Mp4 {
            let mut picture = self.pictures.decoded(content, frame.time).map_err(Failure::Damaged)?;
            let size = (picture.width(), picture.height());
            self.fits(size, frame)?;
            let mp4 = match &mut self.clip {
                Some(Open::Mp4(mp4)) => mp4,
                _ => {
                    let step = cut::usual(self.frames).unwrap_or(UNTOLD);
                    let begun = Mp4::begin(&self.draft.clip(), size, step).map_err(Failure::Fault)?;
                    match self.clip.insert(Open::Mp4(begun)) {
                        Open::Mp4(mp4) => mp4,
                        Open::Avi(_) => unreachable!("it was just made"),
                    }
                }
            };
            return mp4.add(&mut picture, shown).map_err(Failure::Fault);
        }
        let file = self.pictures.file(content, frame.time, self.kind == Kind::Avi).map_err(Failure::Damaged)?;
        self.exact &= file.exact;
        if self.kind == Kind::Directory {
            self.written += 1;
            let time = frame.time.to_zoned(self.zone.clone()).strftime("%Y%m%d_%H%M%S_%3f");
            let name = format!("{:06}_{time}{}", self.written, file.kind.ending());
            let path = self.draft.clip().join(&name);
            let mut written = fs::File::create_new(&path);
            let written =
                written.as_mut().map_err(|e| io::Error::from(e.kind())).and_then(|f| f.write_all(&file.bytes));
            written.map_err(|e| Failure::Fault(full("write", &path, &e)))?;
            self.sums.push((hex(&Sha256::digest(&file.bytes)), name));
            return Ok(());
        }
        self.fits(file.size, frame)?;
        let avi = match &mut self.clip {
            Some(Open::Avi(avi)) => avi,
            _ => {
                let path = self.draft.clip();
                let side = |side: u32| u16::try_from(side).unwrap_or(u16::MAX);
                let format = Format { codec: MJPG, width: side(file.size.0), height: side(file.size.1) };
                let made = AppendFile::create(path.clone(), &Disk::default());
                let made = made.map_err(|e| Failure::Fault(full("create", &path, &e)))?;
                let limits = Limits { riffs: RIFFS, ..Limits::default() };
                let note = format!("edgereel export {}", env!("CARGO_PKG_VERSION"));
                let begun = AviWriter::begin(made, format, cut::pace(self.frames), limits, &note).map_err(fault)?;
                match self.clip.insert(Open::Avi(begun)) {
                    Open::Avi(avi) => avi,
                    Open::Mp4(_) => unreachable!("it was just made"),
                }
            }
        };
        avi.write(&[], &file.bytes).map(drop).map_err(fault)
    }

    /// Ends the clip; the checksums of a directory's pictures.
    pub fn finish(self) -> Result<Vec<(String, String)>, Fault> {
        match self.clip {
            Some(Open::Mp4(mp4)) => mp4.finish()?,
            Some(Open::Avi(mut avi)) => avi.finish(avi.rate()).map_err(of)?,
            None => {}
        }
        Ok(self.sums)
    }
}

/// What decoded pictures have to be for a clip of this kind.
pub fn pixel(kind: Kind) -> Pixel {
    if kind == Kind::Mp4 { Pixel::YUV420P } else { Pixel::YUVJ420P }
}
