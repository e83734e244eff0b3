//! Where the clock and the number stand, and how the picture is cut into restart intervals.
//!
//! A baseline JPEG is a row of 16×16 units. With a restart interval of some units, each interval can be decoded, and
//! therefore encoded and replaced, by itself: only the intervals whose characters changed are encoded anew.

use jiff::Timestamp;
use jpeg_encoder::{ImageBuffer, JpegColorType};

use super::{entropy::encode, font};

/// The side of a unit with 4:2:0 colour, in pixels.
pub const UNIT: usize = 16;
/// Light and dark of the text.
const INK: u8 = 235;
const PAPER: u8 = 24;

/// The cuts and the text's place. All rows and columns count units or intervals, not pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Rows of units.
    pub rows: usize,
    /// Units in an interval; divides a row evenly.
    pub interval: usize,
    /// Intervals in a row.
    pub intervals: usize,
    /// The first row of the text's strip.
    pub strip: usize,
    /// The rows of the text's strip.
    pub strip_rows: usize,
    /// Pixels a dot of the font.
    dot: usize,
    /// Whether there is room for more than the number.
    clock: bool,
}

/// What stands in one interval of the strip.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cell {
    row: u8,
    column: u16,
    /// The characters that reach into it.
    text: Vec<u8>,
}

impl Layout {
    /// For a picture whose sides are multiples of 16, at least 64.
    pub fn new(width: u16, height: u16) -> Self {
        let (width, height) = (usize::from(width), usize::from(height));
        let units = width / UNIT;
        // Short intervals save work, but each costs bytes and decoders' time.
        let interval = (4..=10).rev().find(|n| units.is_multiple_of(*n)).unwrap_or(units);
        let clock = width >= 224;
        let dot = if clock { (width / 320).clamp(1, height / UNIT) } else { (width / 64).clamp(1, 2) };
        Layout {
            rows: height / UNIT,
            interval,
            intervals: units / interval,
            strip: 1,
            strip_rows: (dot * (font::HEIGHT + 1)).div_ceil(UNIT),
            dot,
            clock,
        }
    }

    /// The line of text: `2024-06-04 10:30:00.123 #000123 lab`, or only `#000123` where there is no room.
    pub fn text(&self, sequence: u64, time: Timestamp, label: &str) -> String {
        if self.clock {
            format!("{} #{sequence:06} {label}", time.strftime("%Y-%m-%d %H:%M:%S.%3f"))
        } else {
            format!("#{:06}", sequence % 1_000_000)
        }
    }

    /// The strip's intervals, row by row.
    pub fn cells<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = Cell> + 'a {
        (0..self.strip_rows).flat_map(move |row| {
            (0..self.intervals).map(move |column| {
                let (first, end) = self.characters(column);
                let text = text.get(first.min(text.len())..end.min(text.len())).unwrap_or_default().to_vec();
                Cell { row: row as u8, column: column as u16, text }
            })
        })
    }

    /// The characters that reach into a column of intervals: the first, and the one after the last.
    fn characters(&self, column: usize) -> (usize, usize) {
        let width = self.interval * UNIT;
        let start = (column * width).saturating_sub(self.margin());
        let end = ((column + 1) * width).saturating_sub(self.margin());
        (start / self.advance(), end.div_ceil(self.advance()))
    }

    fn advance(&self) -> usize {
        font::ADVANCE * self.dot
    }

    fn margin(&self) -> usize {
        2 * self.dot
    }

    /// Appends one line of a cell.
    fn line(&self, cell: &Cell, y: usize, out: &mut Vec<u8>) {
        let column = usize::from(cell.column);
        let (first, _) = self.characters(column);
        let top = (self.strip_rows * UNIT - font::HEIGHT * self.dot) / 2;
        let y = usize::from(cell.row) * UNIT + y;
        let left = column * self.interval * UNIT;
        out.extend((left..left + self.interval * UNIT).map(|x| {
            let lit = || {
                let (x, y) = (x.checked_sub(self.margin())?, y.checked_sub(top)?);
                let character = cell.text.get(x / self.advance() - first)?;
                Some(font::dot(*character, x % self.advance() / self.dot, y / self.dot))
            };
            if lit() == Some(true) { INK } else { PAPER }
        }));
    }
}

/// The entropy-coded bytes of cells.
pub fn strip_intervals(layout: &Layout, cells: &[Cell], quality: u8) -> Result<Vec<Vec<u8>>, String> {
    Ok(encode(Cells { layout, cells }, quality, layout.interval)?.intervals)
}

/// Cells one below the other, as a picture to encode.
pub struct Cells<'a> {
    pub layout: &'a Layout,
    pub cells: &'a [Cell],
}

impl ImageBuffer for Cells<'_> {
    fn get_jpeg_color_type(&self) -> JpegColorType {
        JpegColorType::Ycbcr
    }

    fn width(&self) -> u16 {
        (self.layout.interval * UNIT) as u16
    }

    fn height(&self) -> u16 {
        (self.cells.len() * UNIT) as u16
    }

    fn fill_buffers(&self, y: u16, buffers: &mut [Vec<u8>; 4]) {
        let [luma, cb, cr, _] = buffers;
        self.layout.line(&self.cells[usize::from(y) / UNIT], usize::from(y) % UNIT, luma);
        let width = self.layout.interval * UNIT;
        cb.extend(std::iter::repeat_n(128, width));
        cr.extend(std::iter::repeat_n(128, width));
    }
}
