//! The picture behind the clock: waves that wander over a coloured ground, colour bars below, and sensor noise.

use std::f64::consts::TAU;

use jpeg_encoder::{ImageBuffer, JpegColorType};

/// The waves come back to where they were after this many phases, so that the film has no seam.
pub const PHASES: usize = 16;
/// How far a wave's crest is from the next, in pixels.
const PERIOD: usize = 192;
/// The strongest noise, in 256ths of a grey level to either side.
pub const MAX_NOISE: u32 = 120 * 256;

/// The colour bars of a test card as Y, Cb, Cr (ITU-R BT.601, 75 %).
const BARS: [[u8; 3]; 8] = [
    [180, 128, 128],
    [162, 44, 142],
    [131, 156, 44],
    [112, 72, 58],
    [84, 184, 198],
    [65, 100, 212],
    [35, 212, 114],
    [16, 128, 128],
];

/// What does not change from phase to phase.
#[derive(Debug)]
pub struct Scene {
    pub width: u16,
    pub height: u16,
    wave: [i32; PERIOD],
    cb: Vec<u8>,
    cr: Vec<u8>,
}

impl Scene {
    pub fn new(width: u16, height: u16) -> Self {
        let turn = |i: usize, n: usize| (TAU * i as f64 / n as f64).sin();
        let tint = |i: usize, n: usize| (128.0 + 36.0 * turn(i, n)) as u8;
        Scene {
            width,
            height,
            wave: std::array::from_fn(|i| (256.0 * 26.0 * turn(i, PERIOD)) as i32),
            cb: (0..usize::from(width)).map(|x| tint(x, width.into())).collect(),
            cr: (0..usize::from(height)).map(|y| tint(y, height.into())).collect(),
        }
    }

    /// Appends one line of pixels. `noise` as in [`MAX_NOISE`].
    fn line(&self, y: usize, phase: usize, noise: u32, out: &mut [Vec<u8>; 4]) {
        let (width, height) = (usize::from(self.width), usize::from(self.height));
        let [luma, cb, cr, _] = out;
        let bars = y >= height - height / 8;
        let ground = 256 * (80 + 70 * y / height) as i32;
        let shift = PERIOD - phase * PERIOD / PHASES + y / 2;
        let mut random = Random::new((y * PHASES + phase) as u64);
        let amplitude = i64::from(noise);
        let mut pixel = |light: i32| {
            let noise = (i64::from(random.next() as i32) * amplitude) >> 31;
            ((light + noise as i32) >> 8).clamp(0, 255) as u8
        };
        if bars {
            let bar = |x: usize| BARS[x * BARS.len() / width];
            luma.extend((0..width).map(|x| pixel(256 * i32::from(bar(x)[0]))));
            cb.extend((0..width).map(|x| bar(x)[1]));
            cr.extend((0..width).map(|x| bar(x)[2]));
        } else {
            luma.extend((0..width).map(|x| pixel(ground + self.wave[(x + shift) % PERIOD])));
            cb.extend_from_slice(&self.cb);
            cr.extend(std::iter::repeat_n(self.cr[y], width));
        }
    }
}

/// Some rows of 16 lines of a scene in one phase, as a picture to encode.
pub struct Rows<'a> {
    pub scene: &'a Scene,
    pub phase: usize,
    pub noise: u32,
    /// Which rows of the scene, from top to bottom.
    pub rows: &'a [u16],
}

impl ImageBuffer for Rows<'_> {
    fn get_jpeg_color_type(&self) -> JpegColorType {
        JpegColorType::Ycbcr
    }

    fn width(&self) -> u16 {
        self.scene.width
    }

    fn height(&self) -> u16 {
        16 * self.rows.len() as u16
    }

    fn fill_buffers(&self, y: u16, buffers: &mut [Vec<u8>; 4]) {
        let line = usize::from(self.rows[usize::from(y / 16)] * 16 + y % 16);
        self.scene.line(line, self.phase, self.noise, buffers);
    }
}

/// Numbers that look random and are the same for the same seed (splitmix64, Steele et al. 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A sequence of numbers; equal seeds give equal sequences.
    pub fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x2545_F491_4F6C_DD1D))
    }

    /// The next number.
    #[allow(clippy::should_implement_trait)] // it never ends
    pub fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z >> 32) as u32
    }
}
