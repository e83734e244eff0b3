//! What FFmpeg reads: a stream of packets, read on a thread of its own, since FFmpeg's calls block.
//!
//! - [`input`] opens and reads, and gives up when it is told to;
//! - [`pictures`] makes pictures of packets: JPEG as it came, everything else decoded and encoded.

pub mod input;
pub mod pictures;

pub use input::Address;
use input::Input;
pub use pictures::Wanted;
use pictures::{Live, Pictures};

use super::{
    FrameStream, Part, SourceError,
    reader::{self, Reading},
};
use crate::ffmpeg;

/// Opens an address, and gives its pictures. Whoever drops the future or the stream lets the thread end: it notices within
/// a tenth of a second, except while a host name is looked up.
pub async fn open(address: Address, wanted: Wanted) -> Result<Box<dyn FrameStream>, SourceError> {
    ffmpeg::init();
    reader::open(move |given_up| {
        let url = address.secret()?;
        let input = Input::open(url.as_str(), &address.options, given_up).map_err(|e| address.refused(e))?;
        let choice = Box::new(Live::new(&wanted.frame_rate));
        let pictures = Pictures::of(input.stream(), &wanted, choice).map_err(|words| address.protocol_error(words))?;
        Ok(Media { address, input, pictures })
    })
    .await
}

struct Media {
    address: Address,
    input: Input,
    pictures: Pictures,
}

impl Reading for Media {
    fn read(&mut self, give: &mut dyn FnMut(Part) -> bool) -> Result<bool, SourceError> {
        let read = self.input.read(|packet| self.pictures.take(packet, give));
        read.map_err(|error| self.address.broke_off(error))
    }
}
