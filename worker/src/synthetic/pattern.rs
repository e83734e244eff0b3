//! A camera's picture, and its frames at the cost of a copy.
//!
//! Encoding 1280×720 pixels for every frame of every camera is dear. The moving picture is therefore encoded once for
//! each of its few phases, and each frame puts the clock's strip between the two halves of a phase (see
//! [`super::layout`]). What the strip shows is remembered, so that only the digits that moved are encoded.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError, Weak},
};

use bytes::Bytes;
use jiff::Timestamp;

use super::{
    entropy::{comment, encode},
    layout::{Cell, Layout, strip_intervals},
    scene::{PHASES, Rows, Scene},
    size::{self, Look},
    stamp::Stamp,
};

/// So many intervals of the strip are remembered (about 1 MB); when there are more, all are forgotten.
const REMEMBERED: usize = 4096;

/// A moving picture of one size, shared by all cameras that show it.
#[derive(Debug)]
pub struct Pattern {
    scene: Scene,
    layout: Layout,
    look: Look,
    /// SOI and JFIF; the comment follows.
    head: Vec<u8>,
    /// Everything from the comment to the scan, with the padding if there is any.
    tables: Vec<u8>,
    phases: [OnceLock<Phase>; PHASES],
    remembered: Mutex<HashMap<Cell, Bytes>>,
}

/// A phase's entropy-coded bytes before and after the strip, with their restart markers.
#[derive(Debug, Default)]
struct Phase {
    before: Vec<u8>,
    after: Vec<u8>,
}

type Shared = HashMap<(u16, u16, usize), Weak<Pattern>>;

/// Cameras of the same size and target share a pattern.
static SHARED: LazyLock<Mutex<Shared>> = LazyLock::new(Mutex::default);

impl Pattern {
    /// A pattern whose frames have about `target_bytes` on average.
    ///
    /// Width and height are in pixels, 64 to 7680 and multiples of 16. Quality and noise are chosen so that the mean is
    /// within 5 % of the target; where the finest picture is still too small, comment segments fill it up. Fails
    /// with a remedy if the size is not allowed or the target is smaller than the plainest picture.
    pub fn new(width: u16, height: u16, target_bytes: usize) -> Result<Arc<Pattern>, String> {
        for side in [width, height] {
            if !(64..=7680).contains(&side) || side % 16 != 0 {
                return Err(format!(
                    "a picture of {width}x{height} cannot be made: take multiples of 16 from 64 to 7680"
                ));
            }
        }
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (width, height, target_bytes);
        if let Some(pattern) = shared.get(&key).and_then(Weak::upgrade) {
            return Ok(pattern);
        }
        let pattern = Arc::new(Pattern::make(width, height, target_bytes)?);
        shared.retain(|_, pattern| pattern.strong_count() > 0);
        shared.insert(key, Arc::downgrade(&pattern));
        Ok(pattern)
    }

    fn make(width: u16, height: u16, target_bytes: usize) -> Result<Pattern, String> {
        let scene = Scene::new(width, height);
        let layout = Layout::new(width, height);
        let look = size::choose(&scene, &layout, target_bytes)?;
        let sample = encode(Rows { scene: &scene, phase: 0, noise: 0, rows: &[0] }, look.quality, layout.interval)?;
        let (head, mut tables) = sample.head(width, height);
        let mut padding = Vec::new();
        let mut missing = look.padding;
        while missing >= 4 {
            let length = missing.min(65_537);
            comment(&vec![b' '; length - 4], &mut padding);
            missing -= length;
        }
        tables.splice(0..0, padding);
        let (phases, remembered) = Default::default();
        Ok(Pattern { scene, layout, look, head, tables, phases, remembered })
    }

    /// Width and height in pixels.
    pub fn size(&self) -> (u16, u16) {
        (self.scene.width, self.scene.height)
    }

    /// A frame: a baseline JPEG that shows the time, the number and the label, and has them as a [`Stamp`] in its
    /// first comment. The same arguments give the same bytes. The first [`PHASES`] frames of a pattern take as long
    /// as an encoder needs for the whole picture.
    pub fn frame(&self, sequence: u64, time: Timestamp, label: &str) -> Bytes {
        self.frozen((sequence, time), sequence, time, label)
    }

    /// As [`Pattern::frame`], but the picture is that of `shown`, while the comment goes on: what a camera sends whose
    /// sensor hangs and whose server does not.
    pub fn frozen(&self, shown: (u64, Timestamp), sequence: u64, time: Timestamp, label: &str) -> Bytes {
        let stamp = Stamp::new(sequence, time, label).to_string();
        let text = self.layout.text(shown.0, shown.1, label);
        let phase = self.phase((shown.0 % PHASES as u64) as usize);
        let strip = self.strip(text.as_bytes());
        let length = self.head.len()
            + 4
            + stamp.len()
            + self.tables.len()
            + phase.before.len()
            + phase.after.len()
            + strip.iter().map(|interval| interval.len() + 2).sum::<usize>();
        let mut jpeg = Vec::with_capacity(length);
        jpeg.extend(&self.head);
        comment(stamp.as_bytes(), &mut jpeg);
        jpeg.extend(&self.tables);
        jpeg.extend(&phase.before);
        let first = self.layout.strip * self.layout.intervals;
        for (i, interval) in strip.iter().enumerate() {
            jpeg.extend(interval);
            jpeg.extend(restart(first + i));
        }
        jpeg.extend(&phase.after);
        Bytes::from(jpeg)
    }

    fn phase(&self, phase: usize) -> &Phase {
        self.phases[phase].get_or_init(|| {
            let rows: Vec<u16> = (0..self.layout.rows as u16).collect();
            let image = Rows { scene: &self.scene, phase, noise: self.look.noise_of(phase), rows: &rows };
            let intervals = encode(image, self.look.quality, self.layout.interval)
                .expect("a picture of this size and these settings was encoded when the pattern was made")
                .intervals;
            let strip = self.layout.strip * self.layout.intervals;
            let end = strip + self.layout.strip_rows * self.layout.intervals;
            let mut made = Phase::default();
            for (i, interval) in intervals.iter().enumerate() {
                let half = match i {
                    i if i < strip => &mut made.before,
                    i if i >= end => &mut made.after,
                    _ => continue,
                };
                half.extend(interval);
                half.extend(if i + 1 < intervals.len() { restart(i) } else { [0xFF, 0xD9] });
            }
            made
        })
    }

    /// The strip's intervals with this text, without their markers.
    fn strip(&self, text: &[u8]) -> Vec<Bytes> {
        let cells: Vec<Cell> = self.layout.cells(text).collect();
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let missing: Vec<Cell> = cells.iter().filter(|cell| !remembered.contains_key(*cell)).cloned().collect();
        if !missing.is_empty() {
            // Forgetting before adding keeps what this frame needs; but then all of it must be made.
            let missing = if remembered.len() + missing.len() > REMEMBERED {
                remembered.clear();
                cells.clone()
            } else {
                missing
            };
            let intervals = strip_intervals(&self.layout, &missing, self.look.quality)
                .expect("a strip of this size was encoded when the pattern was made");
            remembered.extend(missing.into_iter().zip(intervals.into_iter().map(Bytes::from)));
        }
        cells.iter().map(|cell| remembered[cell].clone()).collect()
    }
}

/// The marker after a picture's interval.
fn restart(interval: usize) -> [u8; 2] {
    [0xFF, 0xD0 + (interval % 8) as u8]
}
