//! Gives the partitions back: flush, commit, finish the files, and only then let them go. The group waits meanwhile.

use std::time::{Duration, Instant};

use edgereel_kafka::consumer::Command;
use edgereel_runtime::fault::Fault;

use super::{Runner, stage::Stage};
use crate::sink::fault::OutputError;

/// How long dead letters may hold up a hand-over; what is not there by then is sent again by the next owner.
const LETTERS: Duration = Duration::from_secs(3);

impl Runner<'_> {
    /// The partitions are asked back, by the group or for a stop.
    pub(super) fn on_revoked(&mut self, generation: u64) -> Result<(), Fault> {
        self.stuck = None;
        if let Some(dead_letters) = &self.dead_letters {
            dead_letters.hurry(LETTERS);
        }
        match self.stage.take() {
            // Nothing was written yet.
            Some(a) if a.is(generation) && a.has_started() => {
                self.stage = Stage::HandingOver(a);
                self.go_on_handing_over()
            }
            _ => {
                self.stage = Stage::Joining;
                self.consumer.command(Command::HandedOver { generation });
                Ok(())
            }
        }
    }

    /// The next step of a hand-over, when the one before is done: flush and commit what is left, then finish.
    pub(super) fn go_on_handing_over(&mut self) -> Result<(), Fault> {
        let Stage::HandingOver(a) = &self.stage else { return Ok(()) };
        if a.under_way.is_some() {
            return Ok(());
        }
        if a.progress.is_dirty() {
            self.flush()?;
            return Ok(());
        }
        match self.output.finish() {
            Ok(()) | Err(OutputError::Superseded) => {}
            Err(e) => return Err(e.into()),
        }
        self.give_back();
        Ok(())
    }

    /// Lets the partitions go.
    pub(super) fn give_back(&mut self) {
        if let Some(a) = self.stage.take() {
            self.consumer.command(Command::HandedOver { generation: a.progress.generation() });
        }
    }

    /// The right to write has ended: nothing of this assignment matters any more. What comes next is an event; if none does,
    /// [`Stage::check`] makes an end.
    pub(super) fn superseded(&mut self) {
        self.give_back();
        self.stuck = None;
        self.stage = Stage::Superseded(Instant::now());
    }
}
