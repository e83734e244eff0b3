//! Reads videos and sequences of pictures, frame by frame. Blocks, on a thread of its own: a disk may hang.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::{fd::AsRawFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use edgereel_frame::{
    encode::{Encoder, Plane},
    picture::Kind,
    reasons::DropReason,
    reencode::MAX_PIXELS,
};
use edgereel_runtime::plain::plain;
use ffmpeg_next::{Error, codec, format::Pixel, util::error::EIO};
use jiff::{SignedDuration, Timestamp};
use xxhash_rust::xxh3::Xxh3;

use super::{
    choice::{Chosen, Clock, Place, Wanted},
    listing::Unit,
};
use crate::{
    ffmpeg::{self, decoder::Decoder, words},
    folder::{
        files::{Folder, NotNow, stamp},
        ledger::{Id, id},
    },
    source::{
        Part,
        media::{Wanted as Pictures, input::Input, pictures::Pictures as Maker},
    },
};

/// So much at a file's beginning and end tells it from others, beside its path and length.
const TOLD_BY: u64 = 1 << 20;
/// Formats that hold a video themselves. Others, such as playlists, would have FFmpeg open what they name.
const FORMATS: &str =
    "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,asf,flv,ogg,mjpeg,mpjpeg,h264,hevc,m4v,mxf,gif,ivf,nut,dv,rm";
/// No picture is larger that is decoded, in bytes.
const LARGEST_PICTURE: usize = 16 << 20;
/// Files that say they were made before this say nothing.
const FIRST_YEAR: i16 = 1990;
/// What a stream has whose rate is not known.
const USUAL_RATE: f64 = 25.0;

/// A file that is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// As seen from the folder.
    pub path: PathBuf,
    /// What it is.
    pub id: Id,
    /// Its size and time, in bits.
    pub stamp: u64,
    /// When its first frame was recorded.
    pub began: Timestamp,
}

/// What is told of what is read.
#[derive(Debug)]
pub enum Said {
    /// A file begins.
    Begun(Arc<About>),
    /// The next of its frames.
    Frame(Arc<About>, Place, Part),
    /// It has ended, all of it or not.
    Ended(Arc<About>, Result<(), NotNow>),
    /// It was read to its end before.
    Known(PathBuf),
    /// The same, under another time.
    Touched(PathBuf, u64, Id),
    /// It is not read.
    Passed(PathBuf, NotNow),
    /// The disk does not give it now.
    Failed(PathBuf, String),
}

/// What is known of files already.
pub trait Known {
    /// Whether the file at this path, with this size and time, was read to its end.
    fn is_done(&self, path: &Path, stamp: u64) -> bool;
    /// The first frame of a file that is not known; none where all are.
    fn next(&self, path: &Path, id: Id) -> Option<u64>;
}

/// Nothing is.
pub struct Nothing;

impl Known for Nothing {
    fn is_done(&self, _: &Path, _: u64) -> bool {
        false
    }

    fn next(&self, _: &Path, _: Id) -> Option<u64> {
        Some(0)
    }
}

/// How files are read.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which frames are wanted.
    pub wanted: Wanted,
    /// How they are made.
    pub pictures: Pictures,
    /// How many pictures of a sequence make a second.
    pub pictures_per_second: f64,
}

/// Reads what stands in a folder.
pub struct Reader<K> {
    /// The folder.
    pub folder: Folder,
    /// How.
    pub settings: Settings,
    /// What is known already.
    pub known: K,
    /// Set when nobody wants it any more: every wait of FFmpeg's ends soon after.
    pub given_up: Arc<AtomicBool>,
}

/// Why a video ends where it does.
enum End {
    /// Nobody wants more.
    NotWanted,
    All,
    Not(NotNow),
    /// The disk.
    Failed(String),
}

impl<K: Known> Reader<K> {
    /// Reads a unit, and tells `tell` until that says no; then says no too.
    pub fn read(&self, unit: &Unit, tell: &mut dyn FnMut(Said) -> bool) -> bool {
        match unit {
            Unit::Video(path) => match self.video(path, tell) {
                Ok(went) => went,
                Err(Refused::File(why)) => tell(Said::Passed(path.clone(), why)),
                Err(Refused::Disk(why)) => tell(Said::Failed(path.clone(), why)),
            },
            Unit::Sequence(paths) => self.sequence(paths, tell),
        }
    }

    fn video(&self, path: &Path, tell: &mut dyn FnMut(Said) -> bool) -> Result<bool, Refused> {
        let mut file = self.folder.open_file(path)?;
        let meta = file.metadata()?;
        let stamp = stamp(&meta);
        if self.known.is_done(path, stamp) {
            return Ok(tell(Said::Known(path.to_owned())));
        }
        if meta.len() == 0 {
            return Err(NotNow::Bad(DropReason::empty, "it is empty".into()).into());
        }
        let id = told_by(path, &mut file, meta.len())?;
        let Some(from) = self.known.next(path, id) else {
            return Ok(tell(Said::Touched(path.to_owned(), stamp, id)));
        };
        let refused = |error: Error| match error {
            Error::Other { errno: EIO } => Refused::Disk(plain(error)),
            error => NotNow::Bad(DropReason::unsupported, unsupported(error)).into(),
        };
        ffmpeg::init();
        // By its handle: the path may lead elsewhere by now.
        let url = format!("file:/proc/self/fd/{}", file.as_raw_fd());
        let options = [("protocol_whitelist", "file".to_owned()), ("format_whitelist", FORMATS.to_owned())];
        let mut input = Input::open(&url, &options, self.given_up.clone()).map_err(refused)?;
        let changed = meta.modified().ok().and_then(|time| Timestamp::try_from(time).ok());
        let began = began(&input, changed.unwrap_or(Timestamp::UNIX_EPOCH));
        let chosen = Chosen::new(self.settings.wanted.clone(), clock(&input), from);
        let (place, over) = (chosen.place(), chosen.over());
        let mut maker = Maker::of(input.stream(), &self.settings.pictures, Box::new(chosen))
            .map_err(|words| NotNow::Bad(DropReason::unsupported, words))?;
        let about = Arc::new(About { path: path.to_owned(), id, stamp, began });
        if !tell(Said::Begun(about.clone())) {
            return Ok(false);
        }
        let mut give = |part| tell(Said::Frame(about.clone(), place.get(), part));
        let end = loop {
            match input.read(|packet| maker.take(packet, &mut give)) {
                Ok(true) if over.get() => break End::All,
                Ok(true) => {}
                Ok(false) => break End::NotWanted,
                Err(Error::Eof) => break if maker.finish(&mut give) { End::All } else { End::NotWanted },
                Err(Error::Other { errno: EIO }) => break End::Failed(plain(Error::Other { errno: EIO })),
                Err(_) if self.given_up.load(Ordering::Relaxed) => break End::NotWanted,
                Err(error) => {
                    let why = format!("it breaks off: {}", words(error));
                    break End::Not(NotNow::Bad(DropReason::truncated, why));
                }
            }
        };
        let same = self.folder.look(path).is_some_and(|now| crate::folder::files::stamp(&now) == stamp);
        Ok(match end {
            End::NotWanted => false,
            End::Failed(why) => tell(Said::Failed(path.to_owned(), why)),
            End::All | End::Not(_) if !same => tell(Said::Ended(about, Err(NotNow::Changing))),
            End::All => tell(Said::Ended(about, Ok(()))),
            End::Not(why) => tell(Said::Ended(about, Err(why))),
        })
    }

    fn sequence(&self, paths: &[PathBuf], tell: &mut dyn FnMut(Said) -> bool) -> bool {
        let clock = Clock { unit: 0.0, begin: 0, rate: self.settings.pictures_per_second };
        let mut chosen = Chosen::new(self.settings.wanted.clone(), clock, 0);
        for path in paths {
            let instead = chosen.next(None);
            let place = Place { number: 0, ..chosen.place().get() };
            let went = match self.picture(path, place, instead, tell) {
                Ok(went) => went,
                Err(Refused::File(why)) => tell(Said::Passed(path.clone(), why)),
                Err(Refused::Disk(why)) => tell(Said::Failed(path.clone(), why)),
            };
            if !went {
                return false;
            }
        }
        true
    }

    /// One of a sequence: a file with one frame.
    fn picture(
        &self,
        path: &Path,
        place: Place,
        instead: Option<Part>,
        tell: &mut dyn FnMut(Said) -> bool,
    ) -> Result<bool, Refused> {
        if self.folder.look(path).is_some_and(|meta| self.known.is_done(path, stamp(&meta))) {
            return Ok(tell(Said::Known(path.to_owned())));
        }
        let picture = self.folder.read(path, LARGEST_PICTURE)?;
        let id = id(path, &picture.bytes);
        if self.known.next(path, id).is_none() {
            return Ok(tell(Said::Touched(path.to_owned(), picture.stamp, id)));
        }
        let part = match instead {
            Some(instead) => instead,
            None if picture.kind == Kind::Jpeg => match picture.bytes.len() {
                bytes if bytes > self.settings.pictures.largest => Part::TooLarge(bytes),
                _ => Part::Picture(picture.bytes),
            },
            None => decoded(&picture.bytes, picture.kind, self.settings.pictures.quality),
        };
        let about = Arc::new(About { path: path.to_owned(), id, stamp: picture.stamp, began: picture.time });
        Ok(tell(Said::Begun(about.clone()))
            && tell(Said::Frame(about.clone(), place, part))
            && tell(Said::Ended(about, Ok(()))))
    }
}

/// Why a file is not read.
enum Refused {
    File(NotNow),
    Disk(String),
}

impl From<NotNow> for Refused {
    fn from(why: NotNow) -> Self {
        Refused::File(why)
    }
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Refused::Disk(plain(error))
    }
}

/// A file's identity: its path, its length, its beginning and its end.
fn told_by(path: &Path, file: &mut File, length: u64) -> io::Result<Id> {
    let mut hash = Xxh3::new();
    hash.update(path.as_os_str().as_bytes());
    hash.update(b"\0");
    hash.update(&length.to_le_bytes());
    let mut bytes = Vec::new();
    for begin in [0, length.saturating_sub(TOLD_BY)] {
        file.seek(SeekFrom::Start(begin))?;
        bytes.clear();
        Read::by_ref(file).take(TOLD_BY).read_to_end(&mut bytes)?;
        hash.update(&bytes);
    }
    Ok(hash.digest128())
}

fn unsupported(error: Error) -> String {
    match error {
        Error::InvalidData => {
            "it is no video of a kind that is known here, or was not finished (an MP4 gets its index last)".into()
        }
        Error::StreamNotFound => "there is no video in it".into(),
        error => format!("FFmpeg cannot read it: {}", plain(error)),
    }
}

/// When a video's first frame was recorded: what the file says, else its last change less its length.
fn began(input: &Input, changed: Timestamp) -> Timestamp {
    let said = input.context().metadata().get("creation_time").and_then(|text| text.parse::<Timestamp>().ok());
    if let Some(said) = said.filter(|time| time.to_zoned(jiff::tz::TimeZone::UTC).year() >= FIRST_YEAR) {
        return said;
    }
    // FFmpeg has it in microseconds, negative where it is not known.
    let length = SignedDuration::from_micros(input.context().duration().max(0));
    changed.checked_sub(length).unwrap_or(changed)
}

fn clock(input: &Input) -> Clock {
    let Some(stream) = input.stream() else { return Clock { unit: 1.0, begin: 0, rate: USUAL_RATE } };
    let rates = [stream.avg_frame_rate(), stream.rate()].map(f64::from);
    let rate = rates.into_iter().find(|rate| rate.is_finite() && *rate > 0.0);
    // The least there is stands for a time that is not known.
    let begin = Some(stream.start_time()).filter(|time| *time != i64::MIN);
    Clock { unit: f64::from(stream.time_base()), begin: begin.unwrap_or(0), rate: rate.unwrap_or(USUAL_RATE) }
}

/// A picture that is no JPEG, as one.
fn decoded(bytes: &[u8], kind: Kind, quality: u8) -> Part {
    let codec = match kind {
        Kind::Jpeg => codec::Id::MJPEG,
        Kind::Png => codec::Id::PNG,
        Kind::WebP => codec::Id::WEBP,
    };
    let jpeg = || {
        let picture = Decoder::new(codec, MAX_PIXELS, Pixel::YUVJ420P).ok()?.decode(bytes).ok()?;
        let plane = |n| Plane { bytes: picture.data(n), stride: picture.stride(n) };
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        Encoder::new(quality).ok()?.encode(width, height, [plane(0), plane(1), plane(2)]).ok()
    };
    jpeg().map_or(Part::Skipped(DropReason::undecodable), Part::Picture)
}
