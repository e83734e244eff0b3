//! What all uses of FFmpeg share: how it is set up, and its errors in words.

pub mod decoder;
pub mod scaler;

use std::sync::Once;

use edgereel_runtime::plain::plain;
use ffmpeg_next::{
    Error, codec,
    util::{error::ENOMEM, log},
};

/// FFmpeg is told once to keep its own lines off standard error: what matters of them comes back as an error.
pub fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_level(log::Level::Quiet);
        ffmpeg_next::format::network::init();
    });
}

/// A codec's context that uses the thread that calls it: many cameras share few cores.
pub fn single_threaded(mut context: codec::Context) -> codec::Context {
    context.set_threading(codec::threading::Config { count: 1, ..Default::default() });
    context
}

/// A codec's error. They report most of what they dislike as -1, which reads as "Operation not permitted".
pub fn words(error: Error) -> String {
    match error {
        Error::Other { errno: ENOMEM } => "there is not enough memory".into(),
        Error::Other { .. } | Error::InvalidData => "its data are damaged or of a kind that is not supported".into(),
        other => plain(other),
    }
}
