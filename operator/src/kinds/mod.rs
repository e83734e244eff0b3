//! The kinds that the operator works on: one file each, and the list of them.
//!
//! A kind is what its [`Managed`] says. Whatever goes over all kinds (caches, watches, wakes, controllers, metrics, the
//! rights in the chart) goes over [`Kinds`] and names none of them.

pub mod camera_stream;
pub mod camera_worker;
pub mod frame_sink;
pub mod kafka_connection;

use std::{collections::BTreeSet, marker::PhantomData, sync::Arc};

use edgereel_crds::{CameraStream, CameraWorker, FrameSink, KafkaConnection, name::ObjectName};
use futures::future::BoxFuture;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;

use crate::{
    cache::{Caches, Writers},
    controller::{
        apply::{ApplyError, Child, Key, Place, prune_kind},
        context::Context,
        managed::Managed,
    },
    definitions,
    run::{Pace, control},
    wakes::Wakes,
    watch::{self, Scope},
};

/// The kinds that are worked on.
#[derive(Clone)]
pub struct Kinds(Vec<Arc<dyn Registered>>);

impl Default for Kinds {
    fn default() -> Self {
        Kinds(Vec::new()).with::<KafkaConnection>().with::<CameraWorker>().with::<CameraStream>().with::<FrameSink>()
    }
}

impl Kinds {
    /// These, and one more.
    pub fn with<K: Managed>(mut self) -> Self {
        self.0.push(Arc::new(Of::<K>(PhantomData)));
        self
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Registered>> {
        self.0.iter()
    }

    /// The kinds of children that their workloads have, each once.
    pub fn children(&self) -> Vec<ChildKind> {
        let mut all: Vec<ChildKind> = Vec::new();
        for child in self.0.iter().flat_map(|kind| kind.children()) {
            if !all.iter().any(|known| known.plural() == child.plural()) {
                all.push(child);
            }
        }
        all
    }

    /// Makes their caches, and their children's.
    pub(crate) fn open(&self, caches: &mut Caches, writers: &mut Writers) {
        self.0.iter().for_each(|kind| kind.open(caches, writers));
        self.children().iter().for_each(|child| child.open(caches, writers));
    }

    /// Their watches, and their children's.
    pub(crate) fn watches(
        &self,
        scope: &Scope,
        writers: &mut Writers,
        wakes: &Arc<Wakes>,
    ) -> Vec<BoxFuture<'static, ()>> {
        let mut all: Vec<_> = self.0.iter().map(|kind| kind.watch(scope, writers, wakes.clone())).collect();
        all.extend(self.children().iter().map(|child| child.watch(scope, writers, wakes.clone())));
        all
    }
}

/// Something that is watched, whatever its type.
pub trait Watched: Send + Sync {
    /// Its API group.
    fn group(&self) -> String;
    /// Its name in paths and rights.
    fn plural(&self) -> String;
    /// Makes its cache.
    fn open(&self, caches: &mut Caches, writers: &mut Writers);
    /// Fills it, and wakes those whom it concerns, until it is dropped.
    fn watch(&self, scope: &Scope, writers: &mut Writers, wakes: Arc<Wakes>) -> BoxFuture<'static, ()>;
}

/// A kind of child, whatever its type.
pub type ChildKind = Arc<dyn Pruned>;

/// Something that is made for resources, and removed when it is no longer wanted.
pub trait Pruned: Watched {
    /// Removes those of an owner that nobody wants any longer.
    fn prune<'a>(&'a self, wanted: &'a BTreeSet<Key>, place: Place<'a>) -> BoxFuture<'a, Result<(), ApplyError>>;
}

/// A kind of resource, whatever its type.
pub trait Registered: Watched {
    /// As it stands in `kind`.
    fn name(&self) -> &'static str;
    /// The schema of its objects, as this operator knows it.
    fn schema(&self) -> Value;
    /// Whether its status says how many use it.
    fn counts_users(&self) -> bool;
    /// Whether others run in its pods.
    fn hosts(&self) -> bool;
    /// The kinds of children that its workloads have.
    fn children(&self) -> Vec<ChildKind>;
    /// Works on its resources as they are woken, until `shutdown`.
    fn control(
        &self,
        woken: UnboundedReceiver<ObjectName>,
        context: Arc<Context>,
        pace: Pace,
        shutdown: CancellationToken,
    ) -> BoxFuture<'static, ()>;
}

/// A type as a value.
struct Of<T>(PhantomData<fn() -> T>);

impl<K: Managed> Watched for Of<K> {
    fn group(&self) -> String {
        K::group(&()).into_owned()
    }

    fn plural(&self) -> String {
        K::plural(&()).into_owned()
    }

    fn open(&self, caches: &mut Caches, writers: &mut Writers) {
        caches.add::<K>(writers);
    }

    fn watch(&self, scope: &Scope, writers: &mut Writers, wakes: Arc<Wakes>) -> BoxFuture<'static, ()> {
        Box::pin(watch::own::<K>(scope, writers.take(), wakes))
    }
}

impl<K: Managed> Registered for Of<K> {
    fn name(&self) -> &'static str {
        K::NAME
    }

    fn schema(&self) -> Value {
        definitions::schema(&K::crd())
    }

    fn counts_users(&self) -> bool {
        K::COUNTS_USERS
    }

    fn hosts(&self) -> bool {
        K::HOSTS
    }

    fn children(&self) -> Vec<ChildKind> {
        K::RUNS.map(|runs| runs.children()).unwrap_or_default()
    }

    fn control(
        &self,
        woken: UnboundedReceiver<ObjectName>,
        context: Arc<Context>,
        pace: Pace,
        shutdown: CancellationToken,
    ) -> BoxFuture<'static, ()> {
        Box::pin(control::<K>(woken, context, pace, shutdown))
    }
}

/// The kind of child that `C` is.
pub fn child<C: Child>() -> ChildKind {
    Arc::new(OfChild::<C>(PhantomData))
}

struct OfChild<C>(PhantomData<fn() -> C>);

impl<C: Child> Watched for OfChild<C> {
    fn group(&self) -> String {
        <C as kube::Resource>::group(&()).into_owned()
    }

    fn plural(&self) -> String {
        <C as kube::Resource>::plural(&()).into_owned()
    }

    fn open(&self, caches: &mut Caches, writers: &mut Writers) {
        caches.add_children::<C>(writers);
    }

    fn watch(&self, scope: &Scope, writers: &mut Writers, wakes: Arc<Wakes>) -> BoxFuture<'static, ()> {
        Box::pin(watch::children::<C>(scope, writers.take(), wakes))
    }
}

impl<C: Child> Pruned for OfChild<C> {
    fn prune<'a>(&'a self, wanted: &'a BTreeSet<Key>, place: Place<'a>) -> BoxFuture<'a, Result<(), ApplyError>> {
        Box::pin(prune_kind::<C>(wanted, place))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use edgereel_crds::name::Kind;

    use super::*;

    #[test]
    fn every_kind_of_the_api_is_worked_on() {
        let worked_on: Vec<&str> = Kinds::default().iter().map(|kind| kind.name()).collect();
        assert_eq!(worked_on, Kind::ALL.map(Kind::as_str));
    }

    /// One of the chart's lists of rules: verb, group and resource.
    fn rules(name: &str) -> BTreeSet<(String, String, String)> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/edgereel/templates/_rules.tpl");
        let text = fs::read_to_string(path).expect("the chart's rules");
        let rules = text.split_once(&format!("{{{{- define \"{name}\" -}}}}")).expect("its beginning").1;
        let rules = rules.split_once("{{- end -}}").expect("its end").0;
        let rules: Value = serde_yaml::from_str(rules).expect("YAML");
        let texts = |rule: &Value, field: &str| -> Vec<String> {
            serde_json::from_value(rule[field].clone()).expect("a list of texts")
        };
        let mut all = BTreeSet::new();
        for rule in rules.as_array().expect("a list") {
            for group in texts(rule, "apiGroups") {
                for resource in texts(rule, "resources") {
                    all.extend(texts(rule, "verbs").into_iter().map(|verb| (verb, group.clone(), resource.clone())));
                }
            }
        }
        all
    }

    #[test]
    fn the_chart_gives_the_rights_that_the_kinds_need_and_no_others() {
        let mut needed = BTreeSet::new();
        let mut need = |verbs: &[&str], group: &str, resource: &str| {
            needed.extend(verbs.iter().map(|verb| ((*verb).to_owned(), group.to_owned(), resource.to_owned())));
        };
        let kinds = Kinds::default();
        for kind in kinds.iter() {
            need(&["get", "list", "watch"], &kind.group(), &kind.plural());
            need(&["patch"], &kind.group(), &format!("{}/status", kind.plural()));
            if !kind.children().is_empty() {
                need(&["update"], &kind.group(), &format!("{}/finalizers", kind.plural()));
            }
        }
        for child in kinds.children() {
            need(&["get", "list", "watch", "create", "patch", "delete"], &child.group(), &child.plural());
        }
        need(&["get", "create", "update"], "coordination.k8s.io", "leases");
        need(&["list", "patch"], "", "persistentvolumeclaims");
        need(&["get", "list", "watch"], "", "secrets");
        need(&["get", "list", "watch", "create", "patch", "delete"], "", "pods");
        need(&["list", "create", "patch"], "events.k8s.io", "events");
        // Only where connections are shared: copies of their Secrets.
        let shared = rules("edgereel.sharingRules");
        assert_eq!(shared, ["create", "patch", "delete"].map(|verb| (verb.into(), "".into(), "secrets".into())).into());
        assert_eq!(&rules("edgereel.rules") | &shared, needed);
    }
}
