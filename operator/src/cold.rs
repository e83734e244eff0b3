//! Children and pods as they are kept: as text, deflated. There are thousands of them, each is looked at once in minutes, and as
//! values of Rust they take ten times the room.

use std::{
    borrow::Cow,
    fmt,
    io::{BufReader, Write},
    marker::PhantomData,
    sync::Arc,
};

use flate2::{Compression, read::DeflateDecoder, write::DeflateEncoder};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, runtime::watcher::Event};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};

/// An object as text, with as much of its metadata as tells it from others.
pub struct Cold<C> {
    meta: ObjectMeta,
    text: Arc<[u8]>,
    kind: PhantomData<fn() -> C>,
}

impl<C: Resource + Serialize + DeserializeOwned> Cold<C> {
    /// Puts an object away.
    pub fn new(mut object: C) -> Self {
        object.meta_mut().managed_fields = None;
        let all = object.meta();
        let meta = ObjectMeta {
            name: all.name.clone(),
            namespace: all.namespace.clone(),
            resource_version: all.resource_version.clone(),
            owner_references: all.owner_references.clone(),
            ..ObjectMeta::default()
        };
        let text = deflated(&serde_json::to_vec(&object).unwrap_or_default()).into();
        Cold { meta, text, kind: PhantomData }
    }

    /// The object; none where it cannot be read, which what was written here can.
    pub fn object(&self) -> Option<C> {
        serde_json::from_reader(BufReader::new(DeflateDecoder::new(&self.text[..]))).ok()
    }
}

/// Puts the objects of an event away.
pub fn put_away<C: Resource + Serialize + DeserializeOwned>(event: Event<C>) -> Event<Cold<C>> {
    match event {
        Event::Apply(object) => Event::Apply(Cold::new(object)),
        Event::Delete(object) => Event::Delete(Cold::new(object)),
        Event::InitApply(object) => Event::InitApply(Cold::new(object)),
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
    }
}

fn deflated(text: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    // Memory takes all that is written into it.
    let _ = encoder.write_all(text);
    let mut deflated = encoder.finish().unwrap_or_default();
    deflated.shrink_to_fit();
    deflated
}

impl<C> Clone for Cold<C> {
    fn clone(&self) -> Self {
        Cold { meta: self.meta.clone(), text: self.text.clone(), kind: PhantomData }
    }
}

impl<C> fmt::Debug for Cold<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{:?}", self.meta.namespace, self.meta.name)
    }
}

impl<'de, C: Resource + Serialize + DeserializeOwned> Deserialize<'de> for Cold<C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        C::deserialize(deserializer).map(Cold::new)
    }
}

impl<C: Resource<DynamicType = ()>> Resource for Cold<C> {
    type DynamicType = ();
    type Scope = C::Scope;

    fn kind(kind: &()) -> Cow<'_, str> {
        C::kind(kind)
    }

    fn group(kind: &()) -> Cow<'_, str> {
        C::group(kind)
    }

    fn version(kind: &()) -> Cow<'_, str> {
        C::version(kind)
    }

    fn plural(kind: &()) -> Cow<'_, str> {
        C::plural(kind)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;
    use kube::runtime::reflector::ObjectRef;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_put_away_comes_back_as_it_was_without_the_notes_of_the_api_server() {
        let text = json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "gate-camera", "namespace": "lab", "uid": "u", "resourceVersion": "7",
                "labels": {"a": "b"}, "managedFields": [{"manager": "edgereel-operator"}],
                "ownerReferences": [{"apiVersion": "v1", "kind": "X", "name": "gate", "uid": "o", "controller": true}]},
            "spec": {"clusterIP": "None", "ports": [{"port": 9464}]}});
        let mut there: Service = serde_json::from_value(text.clone()).expect("a Service");
        let cold: Cold<Service> = serde_json::from_value(text).expect("a Service");
        there.metadata.managed_fields = None;
        assert_eq!(cold.object(), Some(there.clone()));
        assert_eq!(cold.meta().owner_references, there.metadata.owner_references);
        assert_eq!(ObjectRef::from_obj(&cold).to_string(), ObjectRef::from_obj(&there).to_string());
    }
}
