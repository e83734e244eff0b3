//! FFmpeg's picture scaler, usable from any one thread at a time.

use ffmpeg_next::{Error, format::Pixel, frame::Video as Picture, software::scaling};

/// Turns pictures of one format and size into YUV 4:2:0 in video range.
pub struct Scaler(scaling::Context);

// SAFETY: an SwsContext made for one thread is a plain heap object without ties to the thread that made it (FFmpeg's own
// tools make and use them on different threads). It is only used through `&mut self`, so never by two at once. The
// binding has not marked it, since it is a raw pointer.
#[allow(unsafe_code)]
unsafe impl Send for Scaler {}

impl Scaler {
    /// For pictures of this format and size. JPEG's formats (yuvj…, grey) are known to be full range.
    pub fn new(format: Pixel, width: u32, height: u32) -> Result<Self, Error> {
        let flags = scaling::Flags::BILINEAR;
        scaling::Context::get(format, width, height, Pixel::YUV420P, width, height, flags).map(Scaler)
    }

    /// Whether it is for pictures like this.
    pub fn fits(&self, picture: &Picture) -> bool {
        let input = self.0.input();
        (input.format, input.width, input.height) == (picture.format(), picture.width(), picture.height())
    }

    /// Turns a picture.
    pub fn run(&mut self, picture: &Picture) -> Result<Picture, Error> {
        let mut turned = Picture::empty();
        self.0.run(picture, &mut turned).map(|()| turned)
    }
}
