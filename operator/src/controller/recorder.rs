//! Writes events, and remembers few of them.

use std::sync::{Mutex, PoisonError};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client, Error,
    runtime::events::{Event, Recorder, Reporter},
};

/// More than the resources that are in trouble at once where few are, and less than a megabyte.
const MOST: usize = 256;

/// kube's [`Recorder`], which counts what is said again in a series, and so keeps every event for six minutes and looks
/// through all of them for each new one. Thousands of resources that come at once (an installation, a restored backup) say
/// little twice: it begins anew after [`MOST`] events, and what is said again across such a beginning is an event of its own.
pub struct FewRemembered {
    client: Client,
    reporter: Reporter,
    /// The present one, and what it was given.
    recorder: Mutex<(Recorder, usize)>,
}

impl FewRemembered {
    /// Writes events in this reporter's name.
    pub fn new(client: Client, reporter: Reporter) -> Self {
        let recorder = Mutex::new((Recorder::new(client.clone(), reporter.clone()), 0));
        FewRemembered { client, reporter, recorder }
    }

    /// [`Recorder::publish`].
    ///
    /// # Errors
    /// The API server refused the event, or did not answer.
    pub async fn publish(&self, event: &Event, regarding: &ObjectReference) -> Result<(), Error> {
        self.recorder().publish(event, regarding).await
    }

    fn recorder(&self) -> Recorder {
        let mut recorder = self.recorder.lock().unwrap_or_else(PoisonError::into_inner);
        if recorder.1 == MOST {
            *recorder = (Recorder::new(self.client.clone(), self.reporter.clone()), 0);
        }
        recorder.1 += 1;
        recorder.0.clone()
    }
}
