//! The claims of a StatefulSet's pods grow when their declared size does, and never anything else of them.
//!
//! The claims are asked to grow; whether their class allows it is for the API server to say. The StatefulSet has their size in a
//! template that cannot be changed: it is deleted without its pods, and made again with the new one, which takes them over.

use edgereel_crds::{
    status::{ConditionStatus, ConditionType, Reason},
    storage::Storage,
    units::ByteSize,
};
use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::PersistentVolumeClaim};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions, PropagationPolicy},
};
use serde_json::json;
use tracing::info;

use super::{
    apply::{ApplyError, Place, owned},
    names::MANAGER,
    verdict::Further,
    workload::{Runtime, Workload},
};

/// What became of the size that is declared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// The StatefulSet is being made anew: it stays as it is until it is gone.
    pub waits: bool,
    /// What there is to say, where the claims are not of the size that is declared.
    pub word: Option<Further>,
}

/// Brings the claims to the size that is declared, when it is the workload's turn to be built anew. Where they stay as they are, the workload has their size again, so that all else
/// of it can be built.
///
/// # Errors
/// The API server did not answer.
pub async fn grow(workload: &mut Workload, in_turn: bool, place: Place<'_>) -> Result<Claims, ApplyError> {
    let name = workload.names.workload.clone();
    let Runtime::Sharded { storage: Storage::VolumeClaimTemplate(claim), .. } = &mut workload.runtime else {
        return Ok(Claims::default());
    };
    let sets = place.caches.children::<StatefulSet>();
    let Some(set) = sets.and_then(|sets| sets.get(&place.owner.namespace, &name)) else { return Ok(Claims::default()) };
    if !owned(&*set, place.owner) {
        return Ok(Claims::default());
    }
    if set.metadata.deletion_timestamp.is_some() {
        return Ok(Claims { waits: true, word: None });
    }
    let Some(has) = size_of_template(&set) else { return Ok(Claims::default()) };
    let wanted = claim.size;
    if wanted == has {
        return Ok(Claims::default());
    }
    // Made anew, the StatefulSet would be of this operator: that waits for its turn.
    if wanted > has && !in_turn {
        claim.size = has;
        return Ok(Claims::default());
    }
    if wanted < has {
        claim.size = has;
        let words = format!(
            "spec.storage.volumeClaimTemplate.size: claims of {has} cannot shrink to {wanted}; write `{has}` again, or make a new \
             sink with a smaller one"
        );
        return Ok(Claims { waits: false, word: Some(said(Reason::ClaimsCannotShrink, words)) });
    }
    let api = Api::<PersistentVolumeClaim>::namespaced(place.client.clone(), &place.owner.namespace);
    let selector: Vec<String> = workload.names.selector().iter().map(|(key, value)| format!("{key}={value}")).collect();
    let listed = api.list(&ListParams::default().labels(&selector.join(","))).await;
    let listed = listed.map_err(|source| failed("PersistentVolumeClaim", &name, source))?;
    for grown in listed.items.iter().filter(|claim| requested(claim).is_some_and(|size| size < wanted)) {
        let name = grown.name_any();
        if let Some(why) = ask(&api, &name, wanted).await? {
            let class = grown.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref()).unwrap_or_default();
            let words = format!(
                "the claim `{name}` cannot grow from {has} to {wanted}: {why}; if its StorageClass `{class}` can, set \
                 `allowVolumeExpansion: true` there, or write `{has}` again into spec.storage.volumeClaimTemplate.size"
            );
            if let Runtime::Sharded { storage: Storage::VolumeClaimTemplate(claim), .. } = &mut workload.runtime {
                claim.size = has;
            }
            return Ok(Claims { waits: false, word: Some(said(Reason::ClaimsNotExpandable, words)) });
        }
        info!(owner = place.owner.label(), claim = name, from = %has, to = %wanted, "growing a claim");
    }
    leave_pods(&set, place).await?;
    Ok(Claims { waits: true, word: None })
}

fn said(reason: Reason, message: String) -> Further {
    Further { kind: ConditionType::ClaimsSized, status: ConditionStatus::False, reason, message }
}

fn failed(kind: &'static str, name: &str, source: kube::Error) -> ApplyError {
    ApplyError::Api { kind, name: name.to_owned(), source }
}

/// Asks for a claim's new size; why it is refused.
async fn ask(api: &Api<PersistentVolumeClaim>, name: &str, wanted: ByteSize) -> Result<Option<String>, ApplyError> {
    let patch = json!({"spec": {"resources": {"requests": {"storage": wanted.to_string()}}}});
    let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
    match api.patch(name, &params, &Patch::Merge(patch)).await {
        Ok(_) => Ok(None),
        // Gone since it was listed.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(kube::Error::Api(status)) if matches!(status.code, 403 | 422) => Ok(Some(status.message.clone())),
        Err(source) => Err(failed("PersistentVolumeClaim", name, source)),
    }
}

/// Deletes a StatefulSet, and leaves its pods and what else it has to the next of its name.
async fn leave_pods(set: &StatefulSet, place: Place<'_>) -> Result<(), ApplyError> {
    let name = set.name_any();
    info!(owner = place.owner.label(), name, "making the StatefulSet anew, with larger claims; its pods stay");
    let api = Api::<StatefulSet>::namespaced(place.client.clone(), &place.owner.namespace);
    let params = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Orphan),
        preconditions: Some(Preconditions { uid: set.uid(), resource_version: None }),
        ..DeleteParams::default()
    };
    match api.delete(&name, &params).await {
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(()),
        Err(source) => Err(failed("StatefulSet", &name, source)),
        Ok(_) => Ok(()),
    }
}

fn size_of_template(set: &StatefulSet) -> Option<ByteSize> {
    requested(set.spec.as_ref()?.volume_claim_templates.as_ref()?.first()?)
}

fn requested(claim: &PersistentVolumeClaim) -> Option<ByteSize> {
    let requests = claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?;
    requests.get("storage")?.0.parse().ok()
}
