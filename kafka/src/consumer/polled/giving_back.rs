//! The end of an assignment: handed over in order, or lost.

use std::time::Instant;

use super::{End, Poll, Stage, Then};
use crate::{
    client::KafkaFault,
    consumer::{HANDOVER_TIME, messages::Event},
};

impl Poll<'_> {
    /// Lets the writer flush and commit, if there is something that it may have written.
    pub(super) fn hand_over(&mut self, then: Then) {
        match std::mem::replace(&mut self.stage, Stage::Joining) {
            Stage::Reading(Some(partitions), _) => {
                let generation = partitions.generation;
                let deadline = Instant::now() + HANDOVER_TIME;
                self.stage = Stage::HandingOver { partitions, deadline, then };
                self.send(Event::Revoked { generation });
            }
            // Whoever asked first gets it; but a stop is a stop.
            Stage::HandingOver { partitions, deadline, then: first } => {
                // What is let go leaves what else was given to be taken up.
                let then = match (&first, &then) {
                    (_, Then::Leave) | (Then::TakeUp(_), Then::LetGo(_)) => then,
                    _ => first,
                };
                self.stage = Stage::HandingOver { partitions, deadline, then };
            }
            Stage::Joining | Stage::TakingUp(_) | Stage::Reading(None, _) => self.go_on(then),
        }
    }

    /// The writer is done, or out of time.
    pub(super) fn handed_over(&mut self) {
        self.polled.tenure.end();
        if let Stage::HandingOver { then, .. } = std::mem::replace(&mut self.stage, Stage::Joining) {
            if matches!(then, Then::TakeUp(_)) {
                self.send(Event::Lost);
            }
            self.go_on(then);
        }
    }

    fn go_on(&mut self, then: Then) {
        match then {
            Then::LetGo(taken) => {
                self.send(Event::Lost);
                match self.given.let_go(self.consumer, &taken) {
                    Ok(left) if left.is_empty() => {}
                    Ok(left) => self.take_up(left),
                    Err(e) => self.fail(self.subject().fault(&e)),
                }
            }
            Then::TakeUp(all) => self.take_up(all),
            Then::Leave => self.end = Some(End::Closed),
            Then::Anew(fault) => {
                self.send(Event::Lost);
                self.end = Some(End::Anew(fault));
            }
        }
    }

    /// The partitions are gone: the writer may write no more.
    pub(super) fn lose(&mut self) {
        self.polled.tenure.end();
        self.stage = Stage::Joining;
        self.send(Event::Lost);
    }

    /// librdkafka is told that all are gone.
    pub(super) fn lose_all(&mut self) {
        self.stage = Stage::Joining;
        if let Err(e) = self.given.lose(self.consumer) {
            self.fail(self.subject().fault(&e));
        }
    }

    pub(super) fn fail(&mut self, fault: KafkaFault) {
        self.polled.tenure.end();
        self.end = Some(End::Failed(fault));
    }
}
