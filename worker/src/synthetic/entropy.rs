//! The one set of encoder settings, and the cutting of what it gives into restart intervals.

use jpeg_encoder::{Encoder, ImageBuffer, SamplingFactor};

/// SOI and the JFIF segment, as the encoder writes them; a comment may follow.
const JFIF_END: usize = 20;

/// A JPEG in its pieces.
pub struct Encoded {
    /// All segments up to the first entropy-coded byte, from SOI.
    head: Vec<u8>,
    /// Each restart interval's entropy-coded bytes, without markers.
    pub intervals: Vec<Vec<u8>>,
}

/// Encodes a picture with 4:2:0 colour, the standard Huffman tables and a restart interval of so many units, so that
/// intervals of pictures of one quality fit into one another's place.
pub fn encode(image: impl ImageBuffer, quality: u8, interval: usize) -> Result<Encoded, String> {
    let mut jpeg = Vec::new();
    let mut encoder = Encoder::new(&mut jpeg, quality);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    encoder.set_restart_interval(u16::try_from(interval).map_err(|_| "the picture is too wide")?);
    encoder.encode_image(image).map_err(|e| format!("the picture cannot be encoded: {e}"))?;
    let start = scan_start(&jpeg).ok_or("the encoder wrote no scan")?;
    let scan = &jpeg[start..jpeg.len() - 2]; // without EOI
    let mut intervals = Vec::new();
    let mut begin = 0;
    for at in memchr::memchr_iter(0xFF, scan) {
        if matches!(scan.get(at + 1), Some(0xD0..=0xD7)) {
            intervals.push(scan[begin..at].to_vec());
            begin = at + 2;
        }
    }
    intervals.push(scan[begin..].to_vec());
    Ok(Encoded { head: jpeg[..start].to_vec(), intervals })
}

impl Encoded {
    /// The segments for a picture of another size, in two parts: a comment may stand between them.
    pub fn head(&self, width: u16, height: u16) -> (Vec<u8>, Vec<u8>) {
        let mut head = self.head.clone();
        for (marker, at) in segments(&self.head) {
            match marker {
                0xC0 => {
                    head[at + 5..at + 7].copy_from_slice(&height.to_be_bytes());
                    head[at + 7..at + 9].copy_from_slice(&width.to_be_bytes());
                    // JFIF numbers its components from 1, the encoder from 0.
                    (0..3).for_each(|i| head[at + 10 + 3 * i] = i as u8 + 1);
                }
                0xDA => (0..3).for_each(|i| head[at + 5 + 2 * i] = i as u8 + 1),
                _ => {}
            }
        }
        let tail = head.split_off(JFIF_END);
        (head, tail)
    }
}

/// Appends a comment segment. The text must be shorter than 64 KiB.
pub fn comment(text: &[u8], out: &mut Vec<u8>) {
    out.extend([0xFF, 0xFE]);
    out.extend((text.len() as u16 + 2).to_be_bytes());
    out.extend(text);
}

/// The segments from SOI to SOS: marker and the place of its 0xFF.
pub fn segments(jpeg: &[u8]) -> impl Iterator<Item = (u8, usize)> + '_ {
    let mut at = Some(2);
    std::iter::from_fn(move || {
        let here = at?;
        let [0xFF, marker, high, low] = *jpeg.get(here..here + 4)? else { return None };
        at = (marker != 0xDA).then(|| here + 2 + usize::from(u16::from_be_bytes([high, low])));
        Some((marker, here))
    })
}

fn scan_start(jpeg: &[u8]) -> Option<usize> {
    let (_, at) = segments(jpeg).find(|(marker, _)| *marker == 0xDA)?;
    Some(at + 2 + usize::from(u16::from_be_bytes([*jpeg.get(at + 2)?, *jpeg.get(at + 3)?])))
}
