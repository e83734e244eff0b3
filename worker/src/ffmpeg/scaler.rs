//! FFmpeg's picture scaler, usable from any one thread at a time.

use ffmpeg_next::{Error, format::Pixel, frame::Video as Picture, software::scaling};

/// Turns pictures of one format and size into YUV 4:2:0 of the same size.
pub struct Scaler(scaling::Context);

// SAFETY: an SwsContext made for one thread is a plain heap object without ties to the thread that made it (FFmpeg's own
// tools make and use them on different threads). It is only used through `&mut self`, so never by two at once. The
// binding has not marked it, since it is a raw pointer.
#[allow(unsafe_code)]
unsafe impl Send for Scaler {}

impl Scaler {
    /// From pictures of this format and size to `to`: `YUV420P` in video range, or `YUVJ420P` in the full range that JPEG
    /// has. JPEG's own formats (yuvj…, grey) are known to be full range.
    pub fn new(from: Pixel, width: u32, height: u32, to: Pixel) -> Result<Self, Error> {
        scaling::Context::get(from, width, height, to, width, height, scaling::Flags::BILINEAR).map(Scaler)
    }

    /// The scaler that is there if it is for pictures like this, or a new one.
    pub fn for_picture<'a>(
        scaler: &'a mut Option<Scaler>,
        picture: &Picture,
        to: Pixel,
    ) -> Result<&'a mut Self, Error> {
        let fits = |scaler: &mut Scaler| {
            let (input, output) = (scaler.0.input(), scaler.0.output());
            let size = (picture.width(), picture.height());
            (input.format, input.width, input.height) == (picture.format(), size.0, size.1) && output.format == to
        };
        let made = match scaler.take_if(fits) {
            Some(scaler) => scaler,
            None => Scaler::new(picture.format(), picture.width(), picture.height(), to)?,
        };
        Ok(scaler.insert(made))
    }

    /// Turns a picture.
    pub fn run(&mut self, picture: &Picture) -> Result<Picture, Error> {
        let mut turned = Picture::empty();
        self.0.run(picture, &mut turned).map(|()| turned)
    }
}
