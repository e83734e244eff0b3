//! What a camera offers: formats, sizes, and how many pictures a second.

use std::fmt;

use edgereel_crds::device::DeviceFormat;
use serde::{Serialize, Serializer};
use v4l2r::PixelFormat;

/// The formats that can be captured, by V4L2's codes: JPEG first, then from the least work to the most, colours before grey.
const KNOWN: [(DeviceFormat, &[u8; 4]); 9] = [
    (DeviceFormat::Mjpeg, b"MJPG"),
    (DeviceFormat::Mjpeg, b"JPEG"),
    (DeviceFormat::Nv12, b"NV12"),
    (DeviceFormat::Yu12, b"YU12"),
    (DeviceFormat::Yuyv, b"YUYV"),
    (DeviceFormat::Uyvy, b"UYVY"),
    (DeviceFormat::Bgr24, b"BGR3"),
    (DeviceFormat::Rgb24, b"RGB3"),
    (DeviceFormat::Grey, b"GREY"),
];

/// What a V4L2 code stands for, and its rank; nothing for one that cannot be captured.
pub fn known(code: PixelFormat) -> Option<(usize, DeviceFormat)> {
    KNOWN
        .iter()
        .enumerate()
        .find(|(_, (_, known))| code.to_fourcc() == **known)
        .map(|(rank, (format, _))| (rank, *format))
}

/// Width and height in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(pub u32, pub u32);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.0, self.1)
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// From one picture to the next: so many parts of a second, of so many. Never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    parts: u32,
    of: u32,
}

impl Interval {
    /// As V4L2 has it; nothing for what is no time.
    pub fn new(parts: u32, of: u32) -> Option<Self> {
        (parts > 0 && of > 0).then_some(Interval { parts, of })
    }

    /// That of so many pictures a second.
    pub fn of_rate(rate: f64) -> Option<Self> {
        Interval::new(1000, (rate * 1000.0).round() as u32)
    }

    /// Numerator and denominator, in seconds.
    pub fn fraction(self) -> (u32, u32) {
        (self.parts, self.of)
    }

    /// Pictures a second.
    pub fn rate(self) -> f64 {
        f64::from(self.of) / f64::from(self.parts)
    }
}

/// How many pictures a second there can be.
#[derive(Clone, Debug, PartialEq)]
pub enum Rates {
    /// One of these.
    Of(Vec<Interval>),
    /// Anything from the slowest to the fastest.
    Between(Interval, Interval),
    /// It does not say.
    Unknown,
}

impl Rates {
    /// The slowest that is as fast as is wanted, or else the fastest: more than is wanted can be dropped, less cannot be mended.
    pub fn nearest(&self, wanted: f64) -> Option<Interval> {
        let enough = |interval: &Interval| is_enough(interval.rate(), wanted);
        match self {
            Rates::Of(all) => {
                let slowest = all.iter().copied().filter(enough).min_by(|a, b| a.rate().total_cmp(&b.rate()));
                slowest.or_else(|| self.fastest())
            }
            Rates::Between(_, fastest) if wanted >= fastest.rate() => Some(*fastest),
            Rates::Between(slowest, _) if wanted <= slowest.rate() => Some(*slowest),
            Rates::Between(_, fastest) => Interval::of_rate(wanted).or(Some(*fastest)),
            Rates::Unknown => None,
        }
    }

    /// The fastest, where that is known.
    pub fn fastest(&self) -> Option<Interval> {
        match self {
            Rates::Of(all) => all.iter().copied().max_by(|a, b| a.rate().total_cmp(&b.rate())),
            Rates::Between(_, fastest) => Some(*fastest),
            Rates::Unknown => None,
        }
    }

    /// Whether so many can be had, as far as is known.
    pub fn reach(&self, wanted: f64) -> bool {
        self.fastest().is_none_or(|fastest| is_enough(fastest.rate(), wanted))
    }
}

/// 30000/1001 is "30".
fn is_enough(rate: f64, wanted: f64) -> bool {
    rate >= wanted * 0.99
}

/// A format at a size.
#[derive(Clone, Debug, PartialEq)]
pub struct Mode {
    /// V4L2's code.
    pub code: PixelFormat,
    /// What it stands for.
    pub format: DeviceFormat,
    /// Less is better.
    pub rank: usize,
    /// Its pictures' size.
    pub size: Size,
    /// How many there can be.
    pub rates: Rates,
}

impl Mode {
    /// A mode of a format that can be captured.
    pub fn new(code: PixelFormat, size: Size, rates: Rates) -> Option<Self> {
        known(code).map(|(rank, format)| Mode { code, format, rank, size, rates })
    }
}

/// All that a camera offers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Offer {
    /// What can be captured.
    pub modes: Vec<Mode>,
    /// V4L2's codes of what cannot.
    pub others: Vec<String>,
}

impl Offer {
    /// The formats, each once, the best first.
    pub fn formats(&self) -> Vec<DeviceFormat> {
        let mut ranked: Vec<_> = self.modes.iter().map(|mode| (mode.rank, mode.format)).collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        ranked.dedup_by_key(|(_, format)| *format);
        ranked.into_iter().map(|(_, format)| format).collect()
    }

    /// The sizes of a format, the largest first, each with its fastest rate.
    pub fn sizes(&self, format: DeviceFormat) -> Vec<(Size, Option<f64>)> {
        let of = self.modes.iter().filter(|mode| mode.format == format);
        let mut sizes: Vec<_> = of.map(|mode| (mode.size, mode.rates.fastest().map(Interval::rate))).collect();
        sizes.sort_by_key(|(size, _)| std::cmp::Reverse((u64::from(size.0) * u64::from(size.1), *size)));
        sizes.dedup_by_key(|(size, _)| *size);
        sizes
    }
}

/// `mjpeg 1280x720, 640x480; nv12/yuyv 640x480`: formats of the same sizes stand together.
impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut groups: Vec<(String, String)> = vec![];
        for format in self.formats() {
            let sizes: Vec<_> = self.sizes(format).iter().map(|(size, _)| size.to_string()).collect();
            let sizes = sizes.join(", ");
            match groups.last_mut() {
                Some((formats, same)) if *same == sizes => *formats += &format!("/{}", format.as_str()),
                _ => groups.push((format.as_str().to_owned(), sizes)),
            }
        }
        let groups: Vec<_> = groups.into_iter().map(|(formats, sizes)| format!("{formats} {sizes}")).collect();
        f.write_str(&groups.join("; "))
    }
}
