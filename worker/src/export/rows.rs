//! Rows of a video's CSV by their time, without reading all of them.
//!
//! Rows stand in the order of the video, which is that of capture but for frames that came late. So the rows of a range are
//! found by halving, [`SLACK`] before it and behind it, and then looked at one by one. A short CSV is read whole.

use std::{fs::File, io, os::unix::fs::FileExt};

use jiff::{SignedDuration, Timestamp};

use super::cut::Range;
use crate::sink::video::sheet::Row;

/// So far a frame may stand from where its time belongs, in a CSV that is not read whole.
pub const SLACK: SignedDuration = SignedDuration::from_mins(10);
/// A CSV of so many bytes is read whole: some hours of a camera.
pub const SHORT: u64 = 1 << 20;
/// No row is longer, in bytes.
const LONGEST: u64 = 4096;

/// A CSV, up to its present end.
pub struct Rows<'a> {
    file: &'a File,
    end: u64,
}

impl<'a> Rows<'a> {
    /// What stands in a file now.
    pub fn of(file: &'a File) -> io::Result<Self> {
        Ok(Rows { file, end: file.metadata()?.len() })
    }

    fn bytes(&self, from: u64, length: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length.min(self.end.saturating_sub(from)) as usize];
        self.file.read_exact_at(&mut bytes, from)?;
        Ok(bytes)
    }

    /// The first row that begins in this stretch, with its time and where it begins; what is no row is passed over.
    fn first(&self, from: u64, to: u64) -> io::Result<Option<(u64, Timestamp)>> {
        let mut at = from;
        let mut within = from > 0;
        while at < to {
            let bytes = self.bytes(at, LONGEST)?;
            let mut begins = 0;
            for (n, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
                let start = at + begins as u64;
                if start >= to {
                    return Ok(None);
                }
                if !std::mem::take(&mut within)
                    && let Some(time) = time(&bytes[begins..n])
                {
                    return Ok(Some((start, time)));
                }
                begins = n + 1;
            }
            if begins == 0 {
                return Ok(None);
            }
            at += begins as u64;
        }
        Ok(None)
    }

    /// The times of the first and the last row; none where there is no row.
    pub fn extent(&self) -> io::Result<Option<(Timestamp, Timestamp)>> {
        let Some((_, first)) = self.first(0, self.end)? else { return Ok(None) };
        let from = self.end.saturating_sub(LONGEST);
        let bytes = self.bytes(from, LONGEST)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(&[][..], |end| &bytes[..end]);
        let last = whole.rsplit(|byte| *byte == b'\n').find_map(time);
        Ok(Some((first, last.unwrap_or(first))))
    }

    /// Where the first row begins that is not before this time, in rows that are sorted.
    fn begin(&self, wanted: Timestamp) -> io::Result<u64> {
        let (mut low, mut high) = (0, self.end);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.first(middle, high)? {
                // One further on, so that the next step does not find it again.
                Some((at, time)) if time < wanted => low = at + 1,
                _ => high = middle,
            }
        }
        Ok(low)
    }

    /// Gives each row that may be in the range to `take`, and its time. With `all`, looks at each row that there is.
    pub fn read(&self, range: &Range, all: bool, mut take: impl FnMut(Row<'_>, Timestamp)) -> io::Result<()> {
        let (mut at, end) = match all || self.end <= SHORT {
            true => (0, self.end),
            false => {
                let wide = range.widened(SLACK);
                (
                    self.begin(wide.from)?.saturating_sub(LONGEST),
                    self.begin(wide.to)?.saturating_add(LONGEST).min(self.end),
                )
            }
        };
        // What a row ends with may look like a whole one.
        let mut within = at > 0;
        while at < end {
            let bytes = self.bytes(at, 1 << 18)?;
            // A row without its end is the last of a writer at work.
            let Some(whole) = bytes.iter().rposition(|byte| *byte == b'\n') else { return Ok(()) };
            for line in bytes[..whole].split(|byte| *byte == b'\n').skip(usize::from(std::mem::take(&mut within))) {
                if let Some((row, time)) = row(line)
                    && range.holds(time)
                {
                    take(row, time);
                }
            }
            at += whole as u64 + 1;
        }
        Ok(())
    }
}

fn row(line: &[u8]) -> Option<(Row<'_>, Timestamp)> {
    let row = Row::parse(std::str::from_utf8(line).ok()?)?;
    Some((row, row.time.parse().ok()?))
}

fn time(line: &[u8]) -> Option<Timestamp> {
    row(line).map(|(_, time)| time)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(1_717_495_200_000 + ms).expect("in range")
    }

    fn csv(times: &[i64], torn: &str) -> File {
        let mut text = String::from("frame,topic,partition,offset,capture_time\n");
        for (n, ms) in times.iter().enumerate() {
            text += &format!("{n},gate,0,{n},{:.6}\n", at(*ms));
        }
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all((text + torn).as_bytes()).expect("written");
        file
    }

    fn found(file: &File, from: i64, to: i64, all: bool) -> Vec<i64> {
        let mut found = vec![];
        let range = Range { from: at(from), to: at(to) };
        Rows::of(file).and_then(|rows| rows.read(&range, all, |row, _| found.push(row.offset))).expect("read");
        found
    }

    #[test]
    fn of_a_long_csv_only_what_may_be_in_the_range_is_read() {
        // A day at ten frames a second.
        let file = csv(&(0..864_000).map(|n| n * 100).collect::<Vec<_>>(), "");
        let before = std::fs::read_to_string("/proc/thread-self/io").expect("counted");
        assert_eq!(found(&file, 43_200_000, 43_260_000, false), (432_000..432_600).collect::<Vec<_>>());
        let after = std::fs::read_to_string("/proc/thread-self/io").expect("counted");
        let rchar =
            |text: &str| text.lines().next().and_then(|l| l.split(' ').nth(1)?.parse::<u64>().ok()).expect("bytes");
        let read = rchar(&after) - rchar(&before);
        assert!(read < 1 << 20, "{read} of {} bytes", file.metadata().expect("there").len());
        let rows = Rows::of(&file).expect("rows");
        assert_eq!(rows.extent().expect("read"), Some((at(0), at(86_399_900))));
    }

    #[test]
    fn a_csv_without_rows_and_one_that_is_damaged_give_what_there_is() {
        assert_eq!(Rows::of(&csv(&[], "")).and_then(|rows| rows.extent()).expect("read"), None);
        assert_eq!(Rows::of(&csv(&[], "0,gate,0,")).and_then(|rows| rows.extent()).expect("read"), None);
        let torn = csv(&[5], "1,gate,0,1,2024-06-04T10:00:0");
        assert_eq!(Rows::of(&torn).and_then(|rows| rows.extent()).expect("read"), Some((at(5), at(5))));
        assert_eq!(found(&torn, 0, 10, true), [0]);
        let odd = csv(&[5], "\0\0\0\n2,gate,0,2,2024-06-04T10:00:00.007Z\n");
        assert_eq!(found(&odd, 0, 10, true), [0, 2]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn halving_finds_what_reading_all_finds_where_frames_are_late_by_less_than_the_slack(
            seed in prop::collection::vec((0i64..2000, -590_000i64..1), 100), repeat in 230usize..300,
            from in 0i64..40_000_000, length in 0i64..2_000_000,
        ) {
            let mut clock = 0;
            let times: Vec<i64> = (0..repeat).flat_map(|_| seed.iter()).map(|(step, late)| {
                clock += step;
                if late % 7 == 0 { clock + late } else { clock }
            }).collect();
            let file = csv(&times, "");
            prop_assert!(file.metadata().expect("there").len() > SHORT, "it is not read whole");
            prop_assert_eq!(found(&file, from, from + length, false), found(&file, from, from + length, true));
        }

        #[test]
        fn any_bytes_are_read_to_their_end(text: Vec<u8>) {
            let mut file = tempfile::tempfile().expect("a file");
            file.write_all(&text).expect("written");
            let rows = Rows::of(&file).expect("rows");
            rows.extent().expect("read");
            rows.begin(at(0)).expect("read");
        }
    }
}
