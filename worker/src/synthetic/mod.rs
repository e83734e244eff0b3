//! Cameras that need no camera: frames made here, and a server that speaks and misbehaves as cameras do.
//!
//! - [`pattern`] makes a frame at the cost of a copy, from [`scene`] (the picture), [`layout`] (the clock's strip),
//!   [`font`], [`entropy`] (the encoder's settings and cuts) and [`size`] (how to hit a size in bytes).
//! - [`stamp`] is the text in a frame's comment.
//! - [`server`] serves them over HTTP.

mod entropy;
pub mod font;
mod layout;
pub mod pattern;
mod scene;
pub mod server;
mod size;
pub mod stamp;

pub use pattern::Pattern;
pub use stamp::Stamp;

#[cfg(test)]
mod tests;

/// Reads `1280x720`. Says how to write it otherwise.
pub fn parse_size(text: &str) -> Result<(u16, u16), String> {
    let sides = text.split_once('x').and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
    sides.ok_or_else(|| format!("`{text}` is not a picture's size: write width x height in pixels, as `1280x720`"))
}
