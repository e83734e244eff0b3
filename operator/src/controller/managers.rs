//! Whose an object's fields are, by the API server's notes (`metadata.managedFields`).
//!
//! Server-side apply cannot be told that there must be no such object yet: it would take over what somebody else made a
//! moment before. A creation can, and costs the API server less. It notes the fields as updated, though, not as applied,
//! and an apply takes away only what was applied: before the first one the note is made to say so, as client-go's
//! `csaupgrade` does for objects of client-side apply.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry,
    serde::{Serialize, de::DeserializeOwned},
};
use kube::{
    Api, Error, Resource, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::names::MANAGER;

/// Makes an object that is not there.
///
/// # Errors
/// The API server refused; with the reason `AlreadyExists` where there is one of this name.
pub async fn create<C>(api: &Api<C>, manifest: &Value) -> Result<C, Error>
where
    C: Clone + std::fmt::Debug + DeserializeOwned + Serialize,
{
    let object: C = serde_json::from_value(manifest.clone()).map_err(Error::SerdeError)?;
    api.create(&PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() }, &object).await
}

/// Changes an object to what the manifest says, by server-side apply; not one that has been made anew meanwhile.
///
/// # Errors
/// The API server refused; with the code 409 where it is another object by now, or was changed just then.
pub async fn apply<C>(api: &Api<C>, there: &C, mut manifest: Value) -> Result<C, Error>
where
    C: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let name = there.name_any();
    let meta = api.get_metadata(&name).await?.metadata;
    if let Some(entries) = applied(meta.managed_fields.unwrap_or_default()) {
        let meta = json!({"uid": meta.uid, "resourceVersion": meta.resource_version, "managedFields": entries});
        let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
        api.patch_metadata(&name, &params, &Patch::Merge(json!({"metadata": meta}))).await?;
    }
    manifest["metadata"]["uid"] = json!(there.uid());
    api.patch(&name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(manifest)).await
}

/// The notes with our fields as applied ones; none where they say so already.
fn applied(mut entries: Vec<ManagedFieldsEntry>) -> Option<Vec<ManagedFieldsEntry>> {
    let ours = |entry: &ManagedFieldsEntry, operation: &str| {
        entry.manager.as_deref() == Some(MANAGER)
            && entry.operation.as_deref() == Some(operation)
            && entry.subresource.as_deref().unwrap_or_default().is_empty()
    };
    if !entries.iter().any(|entry| ours(entry, "Update")) {
        return None;
    }
    if entries.iter().any(|entry| ours(entry, "Apply")) {
        entries.retain(|entry| !ours(entry, "Update"));
    }
    for entry in entries.iter_mut().filter(|entry| ours(entry, "Update")) {
        entry.operation = Some("Apply".into());
    }
    Some(entries)
}
