//! What Kubernetes says only in events: why a StatefulSet's pod cannot be made, and what a pod's volumes wait for.

use edgereel_crds::status::Reason;
use k8s_openapi::{api::events::v1::Event, apimachinery::pkg::apis::meta::v1::MicroTime, jiff::Timestamp};
use kube::{Api, Client, api::ListParams};
use tracing::debug;

use super::observe::{PodView, Rollout};
use crate::words::words;

/// Said so often, it is no accident of a start, such as a volume that comes a moment after its pod.
const INSISTENT: i32 = 3;
/// More are never there: an object's events live an hour, and client-go's spam filter (EventCorrelator) lets 25 of each
/// reporter through, and then one in five minutes.
const MOST: u32 = 100;

/// The last thing that was said of an object, where that is a warning.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Warning {
    text: String,
    /// Whether it has been said again and again.
    insistent: bool,
}

/// Notes, on what stands still without a word of its own, what its events say. Asks for nothing else.
pub async fn explain(rollout: &mut Rollout, pods: &mut [PodView], namespace: &str, client: &Client) {
    if !rollout.observed || rollout.done() {
        return;
    }
    let api = Api::<Event>::namespaced(client.clone(), namespace);
    if let Some(uid) = rollout.uid.clone()
        && rollout.failure.is_none()
        && rollout.current < rollout.desired
    {
        match last_word(&api, &uid).await {
            Some(Warning { text, insistent: true }) => rollout.failure = Some(text),
            Some(Warning { text, .. }) => rollout.waits_for = Some(text),
            None => {}
        }
    }
    for pod in pods.iter_mut().filter(|pod| pod.stands_still()) {
        match last_word(&api, &pod.uid).await {
            Some(Warning { text, insistent: true }) => pod.trouble = Some((Reason::PodFailed, text)),
            Some(Warning { text, .. }) => rollout.waits_for = Some(text),
            None => {}
        }
    }
}

async fn last_word(api: &Api<Event>, uid: &str) -> Option<Warning> {
    let about = ListParams::default().fields(&format!("regarding.uid={uid}")).limit(MOST);
    match api.list(&about).await {
        Ok(events) => last_warning(&events.items),
        // Without its events, `kubectl describe` is what there is to say.
        Err(error) => {
            debug!("cannot list events: {}", words(&error));
            None
        }
    }
}

/// The newest event's words, unless it says that things went on.
fn last_warning(events: &[Event]) -> Option<Warning> {
    // Of two in one second, the warning: some events have no finer time.
    let newest = events.iter().max_by_key(|event| (time(event), is_warning(event)))?;
    is_warning(newest).then(|| {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let times = newest.series.as_ref().map(|series| series.count).or(newest.deprecated_count).unwrap_or(1);
        Warning { text: format!("{}: {}", text(&newest.reason), text(&newest.note)), insistent: times >= INSISTENT }
    })
}

fn is_warning(event: &Event) -> bool {
    event.type_.as_deref() == Some("Warning")
}

/// When it was said last, to the second: not all events know it better.
fn time(event: &Event) -> i64 {
    let micro = |time: &MicroTime| time.0;
    let series = event.series.as_ref().map(|series| micro(&series.last_observed_time));
    let plain = event.deprecated_last_timestamp.as_ref().map(|time| time.0);
    [series, event.event_time.as_ref().map(micro), plain]
        .into_iter()
        .flatten()
        .map(Timestamp::as_second)
        .max()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn events(all: &[Value]) -> Vec<Event> {
        serde_json::from_value(json!(all)).expect("events")
    }

    fn event(kind: &str, reason: &str, second: u32, more: Value) -> Value {
        let at = format!("2024-06-04T10:30:{second:02}Z");
        let mut event = json!({"metadata": {"name": "x"}, "type": kind, "reason": reason, "note": "because",
            "eventTime": null, "deprecatedLastTimestamp": at, "deprecatedCount": 1});
        event.as_object_mut().expect("an object").extend(more.as_object().cloned().expect("an object"));
        event
    }

    fn word(all: &[Value]) -> Option<(String, bool)> {
        last_warning(&events(all)).map(|Warning { text, insistent }| (text, insistent))
    }

    #[test]
    fn only_the_newest_event_counts_and_only_if_it_is_a_warning() {
        let failed = |second, count| event("Warning", "FailedCreate", second, json!({"deprecatedCount": count}));
        let made = |second| event("Normal", "SuccessfulCreate", second, json!({}));
        let said = |insistent| Some(("FailedCreate: because".to_owned(), insistent));
        assert_eq!(word(&[]), None);
        assert_eq!(word(&[failed(5, 2), made(4)]), said(false));
        assert_eq!(word(&[failed(5, 3), made(4)]), said(true));
        assert_eq!(word(&[made(5), failed(5, 9)]), said(true), "in the same second");
        assert_eq!(word(&[failed(5, 9), made(6)]), None, "it went on since");
    }

    #[test]
    fn both_kinds_of_series_are_counted() {
        let series = json!({"eventTime": "2024-06-04T10:30:00.000001Z", "deprecatedLastTimestamp": null, "deprecatedCount": null,
            "series": {"count": 4, "lastObservedTime": "2024-06-04T10:30:09.000001Z"}});
        let scheduled = event("Normal", "Scheduled", 8, json!({}));
        let mounted = event("Warning", "FailedMount", 0, series);
        assert_eq!(word(&[scheduled, mounted]), Some(("FailedMount: because".into(), true)));
    }
}
