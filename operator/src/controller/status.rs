//! Writes a status where that says something new, and an event where a person wants to know.

use std::time::Duration;

use edgereel_crds::{
    document::{Reading, read_as},
    resource_status::ResourceStatus,
    status::{ConditionStatus, ConditionType, Reason},
};
use jiff::Timestamp;
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    core::{error_boundary::InvalidObject, object::HasStatus},
    runtime::{
        controller::Action,
        events::{Event, EventType},
    },
};
use serde_json::{Value, json};
use tracing::{debug, warn};

use super::{
    Error,
    apply::in_leaving_namespace,
    context::Context,
    dereference::object_name,
    figures::{WorthWriting, conditions_matter},
    managed::{Managed, Observed},
    names::MANAGER,
    unknown,
    validate::Refusal,
    verdict::{self, Verdict, conditions},
};
use crate::{cache::Guarded, words::words};

/// Writes the status of a resource, if it is worth it. Answers with how long what is new may wait, where it does.
///
/// # Errors
/// The API server did not take it.
pub async fn write<K: Managed>(
    resource: &K,
    observed: &Observed,
    verdict: Verdict,
    context: &Context,
) -> Result<Option<Duration>, Error> {
    let uid = resource.uid().unwrap_or_default();
    let generation = resource.meta().generation;
    // What was written a moment ago may not have come back through the watch.
    let ahead = context.written.ahead(&uid, resource.meta().resource_version.as_deref());
    let stored = HasStatus::status(resource);
    let meant = || context.written.meant(&uid, || serde_json::to_value(stored).unwrap_or_default());
    let old: Option<K::Status> = ahead.or_else(|| meant().and_then(|status| serde_json::from_value(status).ok()));
    let old = old.or_else(|| stored.cloned());
    let known = old.clone().unwrap_or_default();
    let now = Timestamp::now();
    let mut conditions = conditions(&verdict, K::ASPECT, generation, known.conditions(), now);
    conditions.extend(unknown::condition(observed, generation, known.conditions(), now));
    let new = K::with_conditions(resource.figures(observed, &known), conditions, generation);
    let ago = context.written.ago(&uid);
    context.metrics.verdict(K::NAME, &object_name(resource), verdict::found(&verdict, K::ASPECT));
    let news = new.condition(ConditionType::UnknownFields).map(|condition| &condition.message)
        != known.condition(ConditionType::UnknownFields).map(|condition| &condition.message);
    if let Some(old) = old.filter(|old| !news && !new.worth_writing(old, ago)) {
        return Ok((new != old).then_some(<K::Status as WorthWriting>::REFRESH));
    }
    // The answer may have fields that this version does not know.
    let api = Api::<Guarded<K>>::namespaced(context.client.clone(), &object_name(resource).namespace);
    let status = serde_json::to_value(&new).unwrap_or_default();
    let name = resource.name_any();
    let answer = match patch(&api, &name, K::NAME, &status).await {
        Err(error) if is_about_an_older_definition(&error) => {
            let less = context.definitions.room_for(K::NAME, &status, &context.client).await;
            patch(&api, &name, K::NAME, &less.ok_or(error)?).await?
        }
        answer => answer?,
    };
    let kept = answer.and_then(|answer| serde_json::to_value(HasStatus::status(answer.0.as_ref().ok()?)).ok());
    context.written.note(&uid, resource.resource_version(), status, kept);
    if told(&verdict, known.condition(ConditionType::Ready)) {
        publish(resource, &verdict, context).await;
    }
    Ok(None)
}

/// Whether a person wants to know: `Ready` or its reason is another than before.
fn told(verdict: &Verdict, before: Option<&k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition>) -> bool {
    before.is_none_or(|before| {
        before.reason != verdict.reason.as_str()
            || (before.status == "True") != (verdict.ready == ConditionStatus::True)
    })
}

/// An event with the verdict's reason. One that cannot be written is no reason to fail.
async fn publish<K: Managed>(resource: &K, verdict: &Verdict, context: &Context) {
    let well = verdict.ready == ConditionStatus::True || verdict.reconciling || verdict.reason == Reason::Suspended;
    let event = Event {
        type_: if well { EventType::Normal } else { EventType::Warning },
        reason: verdict.reason.as_str().into(),
        note: Some(shortened(&verdict.message)).filter(|note| !note.is_empty()),
        action: "Reconcile".into(),
        secondary: None,
    };
    if let Err(error) = context.recorder.publish(&event, &resource.object_ref(&())).await
        && !in_leaving_namespace(&error)
    {
        warn!(resource = resource.name_any(), "cannot write an event: {}", words(&error));
    }
}

/// The API server takes notes of one kilobyte.
fn shortened(text: &str) -> String {
    let mut end = text.len().min(1000);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// The status of a resource that this operator cannot read. Only its metadata is known, so the old status is asked for.
///
/// # Errors
/// The API server did not answer.
pub async fn malformed<K: Managed>(invalid: &InvalidObject, context: &Context) -> Result<Action, Error> {
    let meta = &invalid.metadata;
    if meta.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let failed = |source| Error::Api { what: "cannot write the status of a resource that cannot be read", source };
    let (name, namespace) = (meta.name.clone().unwrap_or_default(), meta.namespace.clone().unwrap_or_default());
    let dynamic = ApiResource::erase::<K>(&());
    let api = Api::<DynamicObject>::namespaced_with(context.client.clone(), &namespace, &dynamic);
    let Some(stored) = api.get_opt(&name).await.map_err(failed)? else { return Ok(Action::await_change()) };
    let refusal = Refusal::new(
        Reason::ResourceMalformed,
        format!(
            "{}: the stored resource is not one that this operator can read; correct it, or upgrade the operator. What \
             it runs goes on",
            unreadable(&stored).unwrap_or_else(|| invalid.error.clone())
        ),
    );
    let verdict = match K::ASPECT {
        Some(ConditionType::Accepted) => verdict::not_accepted(verdict::refused(&refusal)),
        _ => verdict::refused(&refusal),
    };
    let mut status = stored.data.get("status").cloned().unwrap_or_else(|| json!({}));
    let old: Vec<_> = serde_json::from_value(status["conditions"].clone()).unwrap_or_default();
    let new = conditions(&verdict, K::ASPECT, meta.generation, &old, Timestamp::now());
    let name_of = edgereel_crds::name::ObjectName { namespace, name: name.clone() };
    context.metrics.verdict(K::NAME, &name_of, verdict::found(&verdict, K::ASPECT));
    if !conditions_matter(&new, &old) {
        return Ok(Action::await_change());
    }
    status["conditions"] = json!(new);
    status["observedGeneration"] = json!(meta.generation);
    // Server-side apply parses the whole object by the schema, which this one may not fit: the API server would answer 500.
    let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
    match api.patch_status(&name, &params, &Patch::Merge(json!({"status": status}))).await {
        Err(kube::Error::Api(gone)) if gone.code == 404 => {}
        answer => drop(answer.map_err(failed)?),
    }
    warn!(resource = format!("{}/{name_of}", K::NAME), "{}", refusal.message);
    Ok(Action::await_change())
}

/// What `edgereel validate` would say of the stored resource's form: the first field that cannot be read.
fn unreadable(stored: &DynamicObject) -> Option<String> {
    let document = json!({
        "apiVersion": stored.types.as_ref()?.api_version,
        "kind": stored.types.as_ref()?.kind,
        "metadata": {"name": stored.name_any(), "namespace": stored.namespace()},
        "spec": stored.data.get("spec")?,
    });
    let read = read_as(Reading::Lenient, &[(stored.name_any(), document.to_string())]);
    read.problems.first().map(|problem| format!("{}: {}", problem.field, problem.message))
}

/// Server-side apply takes a status as a whole or not at all: a field that the definition lacks keeps all others from being
/// written. Source: structured-merge-diff's typed validation.
fn is_about_an_older_definition(error: &Error) -> bool {
    let Error::Api { source: kube::Error::Api(status), .. } = error else { return false };
    status.message.contains("field not declared in schema")
}

/// Server-side apply to the status subresource: fields that are no longer there go away.
async fn patch<T>(api: &Api<T>, name: &str, kind: &str, status: &Value) -> Result<Option<T>, Error>
where
    T: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let body = json!({
        "apiVersion": edgereel_crds::name::API_VERSION,
        "kind": kind,
        "metadata": {"name": name},
        "status": status,
    });
    let params = PatchParams::apply(MANAGER).force();
    match api.patch_status(name, &params, &Patch::Apply(body)).await {
        Ok(answer) => Ok(Some(answer)),
        // Deleted meanwhile: server-side apply would make it anew, but the subresource cannot.
        Err(kube::Error::Api(status)) if status.code == 404 => {
            debug!(name, "gone before its status was written");
            Ok(None)
        }
        Err(source) => Err(Error::Api { what: "cannot write the status", source }),
    }
}
