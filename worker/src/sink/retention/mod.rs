//! Old frames make room for new ones: `spec.retention`.
//!
//! - [`stored_log`] lists the pictures in the order in which they were stored, so that the oldest are found without a walk;
//!   [`pictures`] deletes them. A video's list of segments is such a list already.
//! - [`ours`] tells whose a file is that was there before.
//! - [`gone`] is what was deleted, written down before it is.
//! - [`turns`] lets the sinks of a volume delete by turns.
//! - [`policy`] decides what is due.

pub mod gone;
pub mod ours;
pub mod pictures;
pub mod policy;
pub mod stored_log;
pub mod turns;

use self::stored_log::Totals;
use super::fault::OutputError;

/// What goes as a whole: a picture, or a closed video with its CSV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    /// When its last frame was captured, in seconds since 1970.
    pub time: i64,
    /// Its bytes.
    pub bytes: u64,
}

/// An output of which the oldest may go.
pub trait Kept {
    /// How much it has.
    fn totals(&self) -> Totals;

    /// What is oldest; none where nothing may go.
    fn oldest(&mut self) -> Result<Option<Unit>, OutputError>;

    /// Deletes, from the oldest on, what is `due`, and at most so much; how much that was. What was stored under a name and is not
    /// what is there any more stays, and counts as gone.
    fn delete(&mut self, most: usize, due: &mut dyn FnMut(Unit) -> bool) -> Result<Totals, OutputError>;
}
