//! Pictures that stand one behind the other: two of a hasty camera, or those of an MPO, which are one.

use memchr::memmem;

use super::{BEGINNING, Segments, header};

pub(crate) const APP2: u8 = 0xE2;
/// The tag of an MPO's index that counts its pictures.
pub(crate) const NUMBER_OF_IMAGES: u16 = 0xB001;
/// More than a camera takes at once.
const MOST_IMAGES: u32 = 64;

/// Where the first of several pictures ends: where another begins in what should be its scan, or at the end of `data`.
/// Where a picture's header is not sound nothing is parted, so that no thumbnail is taken for a picture.
pub fn first_of(data: &[u8]) -> usize {
    let Ok((_, scan_data)) = header(data) else { return data.len() };
    match memmem::find(&data[scan_data..], &BEGINNING) {
        Some(at) if images(data) == 1 => scan_data + at,
        _ => data.len(),
    }
}

/// How many pictures belong together by what the first one's header says: 1, but for an MPO (CIPA DC-007), which has an
/// index in an APP2 segment.
pub fn images(data: &[u8]) -> u32 {
    let Ok(mut segments) = Segments::new(data) else { return 1 };
    while let Ok(Some(segment)) = segments.next() {
        if segment.marker == APP2
            && let Some(index) = segment.body.strip_prefix(b"MPF\0")
        {
            return images_in(index).unwrap_or(1).clamp(1, MOST_IMAGES);
        }
    }
    1
}

/// The number in an index, which is laid out as a TIFF.
fn images_in(index: &[u8]) -> Option<u32> {
    let little = index.starts_with(b"II");
    let u16_at = |at: usize| {
        let bytes: [u8; 2] = index.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    };
    let u32_at = |at: usize| {
        let bytes: [u8; 4] = index.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    };
    let directory = u32_at(4)? as usize;
    let entry = (0..usize::from(u16_at(directory)?)).map(|n| directory + 2 + 12 * n);
    entry
        .take_while(|at| *at < index.len())
        .find(|at| u16_at(*at) == Some(NUMBER_OF_IMAGES))
        .and_then(|at| u32_at(at + 8))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::samples::{encode, mpo, picture, with_comment};

    #[test]
    fn two_pictures_are_two_and_those_of_an_mpo_are_one() {
        let (one, two) = (picture(32, 32, 1), picture(40, 24, 2));
        for between in [&b""[..], b"\r\n", &[0; 9]] {
            assert_eq!(first_of(&[&one, between, &two].concat()), one.len() + between.len());
        }
        assert_eq!((first_of(&one), images(&one)), (one.len(), 1));
        for little in [true, false] {
            let both = mpo(&[one.clone(), two.clone()], little);
            assert_eq!((first_of(&both), images(&both)), (both.len(), 2));
        }
    }

    #[test]
    fn a_thumbnail_is_no_second_picture() {
        let thumbnail = picture(16, 16, 9);
        let length = (thumbnail.len() as u16 + 2).to_be_bytes();
        let jpeg = encode(32, 32, 1, |e| e.set_progressive(true));
        let jpeg = [&jpeg[..2], &[0xFF, 0xE1], &length, &thumbnail, &jpeg[2..]].concat();
        assert_eq!(first_of(&jpeg), jpeg.len());
        // Not even where the picture around it was cut short.
        let cut = &jpeg[..thumbnail.len() + 40];
        assert_eq!(first_of(cut), cut.len());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_have_one_picture_at_least(data in prop::collection::vec(any::<u8>(), 0..300), index in any::<bool>()) {
            let data = if index { [b"\xFF\xD8\xFF\xE2\x01\x00MPF\0MM\0\x2A", &data[..]].concat() } else { data };
            prop_assert!(first_of(&data) <= data.len() && images(&data) >= 1);
            let jpeg = with_comment(&picture(16, 16, 1), "x");
            prop_assert!(first_of(&[&jpeg[..], &data].concat()) >= jpeg.len());
        }
    }
}
