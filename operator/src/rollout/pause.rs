//! `edgereel.dev/pause: "true"` on a resource: its children are left as they are, whatever is declared.

use edgereel_crds::status::{ConditionStatus, ConditionType, Reason};
use kube::ResourceExt;

use crate::controller::verdict::Further;

/// The annotation.
pub const PAUSE_ANNOTATION: &str = "edgereel.dev/pause";

/// Whether a resource is to be left alone.
pub fn is_paused(resource: &impl ResourceExt) -> bool {
    resource.annotations().get(PAUSE_ANNOTATION).is_some_and(|value| value == "true")
}

/// What its status says of that. The condition is there only while it holds.
pub fn condition() -> Further {
    let message = format!(
        "the annotation `{PAUSE_ANNOTATION}` is `true`: what runs is left as it is, and no change reaches it until the \
         annotation is removed"
    );
    Further { kind: ConditionType::Paused, status: ConditionStatus::True, reason: Reason::Paused, message }
}
