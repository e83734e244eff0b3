//! Whether frames flow, from what the camera's task and the producer's task each know.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use edgereel_crds::status::{ConditionStatus, ConditionType, Reason};
use edgereel_runtime::state::ResourceState;

/// How one end of the stream fares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It works.
    Up,
    /// It has not worked yet, or not since this reason.
    Down(Reason, String),
}

/// What is said while it works.
#[derive(Clone, Copy, Debug)]
pub struct Words {
    /// Of the camera's end.
    pub online: &'static str,
    /// Of both.
    pub flowing: &'static str,
}

impl Default for Words {
    fn default() -> Self {
        Words { online: "frames arrive", flowing: "frames arrive and Kafka acknowledges them" }
    }
}

/// Both ends, and the resource's conditions made of them.
#[derive(Debug)]
pub struct Health {
    state: ResourceState,
    words: Words,
    ends: Mutex<Ends>,
}

#[derive(Debug)]
struct Ends {
    camera: End,
    kafka: End,
    /// What is to be said of other processes that capture the camera, too.
    captured_twice: Option<String>,
}

impl Health {
    /// Both ends are being connected.
    pub fn new(state: ResourceState) -> Self {
        Health::saying(state, Words::default())
    }

    /// The same, with words of its own.
    pub fn saying(state: ResourceState, words: Words) -> Self {
        let health = Health {
            state,
            words,
            ends: Mutex::new(Ends {
                camera: End::Down(Reason::CameraConnecting, "dialling the camera".into()),
                kafka: End::Down(Reason::KafkaConnecting, "connecting to Kafka".into()),
                captured_twice: None,
            }),
        };
        health.publish(&health.lock());
        health
    }

    fn lock(&self) -> MutexGuard<'_, Ends> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The camera's end changed; says whether it is news.
    pub fn camera(&self, end: End) -> bool {
        let mut ends = self.lock();
        let news = ends.camera != end;
        if news {
            self.remember(&end);
        }
        ends.camera = end;
        self.publish(&ends);
        news
    }

    /// Kafka's end changed; says whether it is news.
    pub fn kafka(&self, end: End) -> bool {
        let mut ends = self.lock();
        let news = ends.kafka != end;
        if news {
            self.remember(&end);
        }
        ends.kafka = end;
        self.publish(&ends);
        news
    }

    /// Whether pictures come.
    pub fn is_online(&self) -> bool {
        self.lock().camera == End::Up
    }

    /// What is to be said of other processes that capture the camera, too, if there are any.
    pub fn captured_twice(&self, message: Option<String>) {
        let mut ends = self.lock();
        ends.captured_twice = message;
        self.publish(&ends);
    }

    /// The camera is dialled again after so long.
    pub fn dialling_in(&self, wait: Duration) {
        self.state.try_again_in(wait);
    }

    /// Something went wrong that changes neither end.
    pub fn note(&self, message: &str) {
        self.state.note_error(message);
    }

    /// What went wrong stays to be read once it is mended.
    fn remember(&self, end: &End) {
        if let End::Down(_, message) = end {
            self.state.note_error(message.clone());
        }
    }

    /// Conditions from both ends. The camera's trouble is told first: nothing flows without it.
    fn publish(&self, ends: &Ends) {
        match &ends.camera {
            End::Up => {
                self.state.set(ConditionType::CameraOnline, ConditionStatus::True, Reason::Running, self.words.online);
            }
            End::Down(reason, message) => {
                self.state.set(ConditionType::CameraOnline, ConditionStatus::False, *reason, message.clone());
            }
        }
        match (&ends.camera, &ends.kafka) {
            (End::Up, End::Up) => {
                let (reason, message) = match &ends.captured_twice {
                    Some(message) => (Reason::CapturedTwice, message.as_str()),
                    None => (Reason::Running, self.words.flowing),
                };
                self.state.set(ConditionType::Ready, ConditionStatus::True, reason, message);
            }
            (End::Down(reason, message), _) | (End::Up, End::Down(reason, message)) => {
                self.state.set(ConditionType::Ready, ConditionStatus::False, *reason, message.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use edgereel_crds::name::{Kind, ObjectName};

    use super::*;

    #[test]
    fn ready_needs_both_ends_and_names_the_one_that_fails() {
        let state = ResourceState::new(Kind::CameraStream, ObjectName { namespace: "d".into(), name: "n".into() });
        let health = Health::new(state.clone());
        let ready = || state.condition(ConditionType::Ready).expect("set");
        assert_eq!(ready().reason, Reason::CameraConnecting);
        assert!(health.camera(End::Up));
        assert_eq!(ready().reason, Reason::KafkaConnecting);
        assert!(health.kafka(End::Up));
        assert!(state.is_ready());
        assert!(!health.kafka(End::Up), "no news");
        health.camera(End::Down(Reason::CameraFrozen, "same picture".into()));
        assert_eq!((ready().reason, state.is_ready()), (Reason::CameraFrozen, false));
    }

    #[test]
    fn another_process_is_told_of_while_frames_flow_and_taken_back() {
        let state = ResourceState::new(Kind::CameraStream, ObjectName { namespace: "d".into(), name: "n".into() });
        let health = Health::new(state.clone());
        let ready = || state.condition(ConditionType::Ready).expect("set");
        health.captured_twice(Some("process 7 captures it, too".into()));
        assert_eq!(ready().reason, Reason::CameraConnecting, "what is worse comes first");
        health.camera(End::Up);
        health.kafka(End::Up);
        assert_eq!((ready().reason, state.is_ready()), (Reason::CapturedTwice, true), "frames do flow");
        assert!(ready().message.contains("process 7"));
        health.captured_twice(None);
        assert_eq!(ready().reason, Reason::Running);
    }

    #[test]
    fn the_last_trouble_is_remembered_after_it_is_mended() {
        let state = ResourceState::new(Kind::CameraStream, ObjectName { namespace: "d".into(), name: "n".into() });
        let health = Health::new(state.clone());
        assert!(state.last_error().is_none(), "connecting is no error");
        health.camera(End::Down(Reason::CameraStalled, "silent".into()));
        health.camera(End::Up);
        assert_eq!(state.last_error().expect("remembered").message, "silent");
        health.kafka(End::Down(Reason::KafkaUnreachable, "no brokers".into()));
        health.kafka(End::Up);
        assert_eq!(state.last_error().expect("remembered").message, "no brokers");
    }
}
