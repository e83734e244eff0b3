//! Which quality and how much noise make a picture as large as asked for.

use jiff::Timestamp;

use super::{
    entropy::encode,
    layout::{Cell, Layout, strip_intervals},
    scene::{MAX_NOISE, PHASES, Rows, Scene},
};

/// The qualities to try, best first. Above the first only if the noisiest picture would still be too small.
const QUALITIES: [u8; 10] = [90, 80, 65, 50, 35, 20, 10, 5, 2, 1];
const FINER: [u8; 3] = [95, 98, 100];
/// A search looks at so many units of a picture, a third of 1280×720.
const SAMPLE_UNITS: usize = 1200;
/// The comment's segment, about.
const COMMENT_BYTES: usize = 80;

/// How a picture is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// The encoder's quality, 1 to 100.
    pub quality: u8,
    /// The mean noise; see [`MAX_NOISE`].
    noise: u32,
    /// What comments must fill up, in bytes.
    pub padding: usize,
}

impl Look {
    /// The noise swings a little, so that sizes vary from frame to frame as a camera's do.
    pub fn noise_of(&self, phase: usize) -> u32 {
        let swing = [0, 3, 5, 3, 0, -3, -5, -3][phase * 3 % 8];
        (i64::from(self.noise) * (100 + swing) / 100) as u32
    }
}

/// Finds the look for a target in bytes.
pub fn choose(scene: &Scene, layout: &Layout, target: usize) -> Result<Look, String> {
    let units = layout.rows * layout.intervals * layout.interval;
    let sampled = |quality, noise| measure(scene, layout, (quality, noise), PHASES / 2, SAMPLE_UNITS);
    // Phases differ by chance, and more so the smaller the picture is.
    let step = if units <= SAMPLE_UNITS { 2 } else { PHASES };
    let whole = |look: Look| -> Result<usize, String> {
        let phases = (0..PHASES).rev().step_by(step);
        let count = phases.len();
        let sizes = phases.map(|phase| measure(scene, layout, (look.quality, look.noise_of(phase)), phase, units));
        Ok(sizes.sum::<Result<usize, String>>()? / count)
    };
    let first = search(&sampled, target)?;
    let (seen, real) = (sampled(first.quality, first.noise)?, whole(first)?);
    // The sample misses some of the picture's structure: aim beside the target by as much as it is off.
    let look = search(&sampled, (target as u64 * seen as u64 / real as u64) as usize).unwrap_or(first);
    let real = whole(look)?;
    if look.quality == 1 && look.noise == 0 && real > target + target / 20 {
        let (width, height) = (scene.width, scene.height);
        return Err(format!(
            "a picture of {width}x{height} cannot be as small as {target} bytes: ask for at least {real}, or for a \
             smaller picture"
        ));
    }
    // Only the finest and noisiest picture is filled up; any other is as near as it gets.
    let finest = look.quality == 100 && look.noise == MAX_NOISE;
    Ok(Look { padding: if finest { target.saturating_sub(real) } else { 0 }, ..look })
}

/// The best quality that leaves room for noise, and then the noise that fills the room.
fn search(measure: &dyn Fn(u8, u32) -> Result<usize, String>, target: usize) -> Result<Look, String> {
    let mut quality = 1;
    for candidate in QUALITIES {
        quality = candidate;
        if measure(quality, 0)? <= target {
            break;
        }
    }
    if quality == QUALITIES[0] {
        for finer in FINER {
            if measure(quality, MAX_NOISE)? >= target {
                break;
            }
            quality = finer;
        }
    }
    let (mut low, mut high) = (0, MAX_NOISE);
    if measure(quality, high)? <= target {
        return Ok(Look { quality, noise: high, padding: 0 });
    }
    while high - low > 8 {
        let noise = (low + high) / 2;
        let bytes = measure(quality, noise)?;
        if bytes.abs_diff(target) < target / 200 {
            return Ok(Look { quality, noise, padding: 0 });
        }
        if bytes > target { high = noise } else { low = noise }
    }
    Ok(Look { quality, noise: low, padding: 0 })
}

/// About how large a frame is, from a sample of so many units.
fn measure(
    scene: &Scene,
    layout: &Layout,
    (quality, noise): (u8, u32),
    phase: usize,
    sample: usize,
) -> Result<usize, String> {
    let strip = layout.strip..layout.strip + layout.strip_rows;
    let rows: Vec<u16> = (0..layout.rows).filter(|row| !strip.contains(row)).map(|row| row as u16).collect();
    let units = layout.interval * layout.intervals;
    let step = (rows.len() * units).div_ceil(sample).min(rows.len());
    let sample: Vec<u16> = rows.iter().step_by(step).copied().collect();
    let encoded = encode(Rows { scene, phase, noise, rows: &sample }, quality, layout.interval)?;
    let (head, tables) = encoded.head(scene.width, scene.height);
    let text = layout.text(0, Timestamp::UNIX_EPOCH, "camera");
    let cells: Vec<Cell> = layout.cells(text.as_bytes()).collect();
    let strip = strip_intervals(layout, &cells, quality)?;
    let length = |intervals: &[Vec<u8>]| intervals.iter().map(|i| i.len() + 2).sum::<usize>();
    let body = length(&encoded.intervals) * rows.len() / sample.len();
    Ok(head.len() + tables.len() + COMMENT_BYTES + length(&strip) + body)
}
