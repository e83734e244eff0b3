//! Puts into a JPEG what its camera left out, and cuts off what it put too much.

use bytes::Bytes;

use super::{Defect, EOI, JpegInfo, STANDARD_HUFFMAN_SEGMENT, complete::Completeness, header, inspect};
use crate::reasons::MendReason;

/// What was mended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mended {
    /// The standard Huffman tables were put in.
    pub huffman_tables: bool,
    /// The end marker was put at the end.
    pub end_of_image: bool,
    /// Bytes behind the end were cut off.
    pub padding: bool,
}

impl Mended {
    /// The reasons to count; none for a picture that is as it came.
    pub fn reasons(self) -> impl Iterator<Item = MendReason> {
        let all = [
            (self.huffman_tables, MendReason::huffman_tables),
            (self.end_of_image, MendReason::end_of_image),
            (self.padding, MendReason::padding),
        ];
        all.into_iter().filter_map(|(done, reason)| done.then_some(reason))
    }
}

/// What a missing end marker means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingEnd {
    /// The picture was cut short.
    Truncated,
    /// The camera leaves it out: put it there.
    Append,
}

/// A whole JPEG that any decoder takes. The bytes are not copied unless something has to be put in.
pub fn mend(jpeg: Bytes, missing_end: MissingEnd) -> Result<(Bytes, JpegInfo, Mended), Defect> {
    let mut mended = Mended::default();
    let mut info = match inspect(&jpeg) {
        Err(Defect::Truncated) if missing_end == MissingEnd::Append => {
            mended.end_of_image = true;
            header(&jpeg)?.0
        }
        result => result?,
    };
    mended.padding = (info.length as usize) < jpeg.len();
    mended.huffman_tables = info.sequential && !info.has_huffman_tables;
    let jpeg = jpeg.slice(..info.length as usize);
    if !mended.huffman_tables && !mended.end_of_image {
        return Ok((jpeg, info, mended));
    }
    let (head, scan) = jpeg.split_at(info.scan_start as usize);
    let mut whole = Vec::with_capacity(jpeg.len() + STANDARD_HUFFMAN_SEGMENT.len() + EOI.len());
    whole.extend_from_slice(head);
    if mended.huffman_tables {
        whole.extend_from_slice(STANDARD_HUFFMAN_SEGMENT);
        info.has_huffman_tables = true;
        info.scan_start += STANDARD_HUFFMAN_SEGMENT.len() as u32;
    }
    whole.extend_from_slice(scan);
    if mended.end_of_image {
        // An FF that was the first half of a lost EOI would make `FF FF D9`, which is an EOI behind a fill byte.
        whole.extend_from_slice(&EOI);
    }
    info.length = u32::try_from(whole.len()).map_err(|_| Defect::NotJpeg)?;
    Ok((whole.into(), info, mended))
}

/// What one camera's pictures end in. A camera that has ended one picture properly means to end them all, so that a
/// missing end is a cut. One that never did may leave it out on purpose or have each picture cut: only decoding tells, so
/// its pictures are decoded (an eighth of their size: some milliseconds for 1280×720), and go on as they are.
#[derive(Debug, Default)]
pub struct EoiHabit {
    seen: bool,
    completeness: Completeness,
}

impl EoiHabit {
    /// Whether the next [`mend`](Self::mend) may take the time of a decoder.
    pub fn may_decode(&self) -> bool {
        !self.seen
    }

    /// [`mend`]s the camera's next picture by what is known of the camera, and learns from it.
    pub fn mend(&mut self, jpeg: Bytes) -> Result<(Bytes, JpegInfo, Mended), Defect> {
        let missing_end = if self.seen { MissingEnd::Truncated } else { MissingEnd::Append };
        let (jpeg, info, mended) = mend(jpeg, missing_end)?;
        if !mended.end_of_image {
            self.seen = true;
        } else if !self.completeness.is_complete(&jpeg) {
            return Err(Defect::Truncated);
        }
        Ok((jpeg, info, mended))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{encode, picture};

    /// The same picture without its DHT segments.
    fn without_tables(jpeg: &[u8]) -> Vec<u8> {
        let mut out = jpeg[..2].to_vec();
        let mut at = 2;
        while jpeg[at + 1] != 0xDA {
            let end = at + 2 + usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
            if jpeg[at + 1] != super::super::DHT {
                out.extend_from_slice(&jpeg[at..end]);
            }
            at = end;
        }
        out.extend_from_slice(&jpeg[at..]);
        out
    }

    fn pixels(jpeg: &[u8]) -> Vec<u8> {
        turbojpeg::decompress(jpeg, turbojpeg::PixelFormat::RGB).expect("decodable").pixels
    }

    #[test]
    fn a_sound_picture_is_not_even_copied() {
        let jpeg = Bytes::from(picture(32, 32, 0));
        let (same, info, mended) = mend(jpeg.clone(), MissingEnd::Truncated).expect("sound");
        assert_eq!((same.as_ptr(), same.len()), (jpeg.as_ptr(), jpeg.len()));
        assert_eq!(mended.reasons().count(), 0);
        assert_eq!(info, inspect(&jpeg).expect("sound"));
    }

    #[test]
    fn a_picture_without_huffman_tables_decodes_as_with_them() {
        let whole = encode(48, 32, 3, |e| e.set_optimized_huffman_tables(false));
        let bare = Bytes::from(without_tables(&whole));
        assert!(bare.len() < whole.len());
        let (jpeg, info, mended) = mend(bare, MissingEnd::Truncated).expect("mendable");
        assert_eq!(mended.reasons().collect::<Vec<_>>(), [MendReason::huffman_tables]);
        assert_eq!(info, inspect(&jpeg).expect("sound"));
        assert_eq!(pixels(&jpeg), pixels(&whole));
    }

    #[test]
    fn padding_is_cut_off_without_a_copy() {
        let whole = picture(32, 32, 0);
        let padded = Bytes::from([&whole[..], &[0; 500]].concat());
        let (jpeg, info, mended) = mend(padded.clone(), MissingEnd::Truncated).expect("sound");
        assert_eq!((jpeg.as_ptr(), jpeg.len(), info.length as usize), (padded.as_ptr(), whole.len(), whole.len()));
        assert_eq!(mended.reasons().collect::<Vec<_>>(), [MendReason::padding]);
    }

    #[test]
    fn a_missing_end_is_put_there_until_the_camera_has_shown_that_it_knows_ends() {
        let whole = Bytes::from(picture(32, 32, 0));
        let cut = whole.slice(..whole.len() - 2);
        let mut habit = EoiHabit::default();
        for _ in 0..2 {
            let (jpeg, info, mended) = habit.mend(cut.clone()).expect("mendable");
            assert!(mended.end_of_image);
            assert_eq!((&jpeg, info), (&whole, inspect(&whole).expect("sound")));
        }
        habit.mend(whole).expect("sound");
        assert_eq!(habit.mend(cut), Err(Defect::Truncated));
    }

    #[test]
    fn halves_are_dropped_although_no_picture_ever_had_an_end() {
        let whole = Bytes::from(picture(64, 64, 0));
        let half = whole.slice(..whole.len() / 2);
        let mut habit = EoiHabit::default();
        assert_eq!(habit.mend(half.clone()), Err(Defect::Truncated));
        habit.mend(whole.slice(..whole.len() - 2)).expect("whole but for its end");
        assert_eq!(habit.mend(half), Err(Defect::Truncated));
    }

    #[test]
    fn a_header_that_ends_too_early_cannot_be_mended() {
        let cut = Bytes::from(picture(32, 32, 0)).slice(..40);
        assert_eq!(EoiHabit::default().mend(cut), Err(Defect::Truncated));
    }
}
