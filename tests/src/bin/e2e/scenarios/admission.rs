//! What the API server refuses itself, with the definitions' chart told so.

use anyhow::bail;
use serde_json::{Value, json};

use crate::{
    kube::{Kind, until},
    lab::{Lab, name_of},
    world::World,
};

/// The policies, taken away again at the end: they hold for the whole cluster.
struct Policies<'w>(&'w World);

impl<'w> Policies<'w> {
    fn new(world: &'w World) -> Self {
        let allowed = format!("admission.allowedHostPaths={{{}}}", world.data.display());
        world.install_crds(&["admission.enabled=true", &allowed]);
        Policies(world)
    }
}

impl Drop for Policies<'_> {
    fn drop(&mut self) {
        self.0.install_crds(&[]);
    }
}

/// What `kubectl apply` says, once the API server has heard of the policies and of what is there already.
#[track_caller]
fn refused(lab: &Lab<'_>, document: &Value) -> String {
    until(&format!("{} is refused", name_of(document)), || match lab.kube().try_apply(&lab.here(&[document])) {
        Err(refusal) => Ok(refusal.to_string()),
        Ok(()) => {
            lab.run(&["delete", document["kind"].as_str().unwrap_or_default(), &name_of(document)]);
            bail!("it is taken")
        }
    })
}

pub fn kubectl_refuses_at_once_what_the_policies_see(world: &World) {
    let lab = Lab::open(world, "admission");
    let sink = |name: &str, camera: &str, path: &str, group: &str| {
        let storage = json!({"hostPath": {"path": path}});
        lab.sink(name, camera, json!({"storage": storage, "group": group, "suspend": true}))
    };
    let allowed = lab.disk.to_string_lossy().into_owned();
    lab.apply(&[sink("old", "gate", "/etc", "old")]);
    let _policies = Policies::new(world);

    let said = refused(&lab, &sink("outside", "gate", "/etc", "outside"));
    assert!(said.contains("the hostPath `/etc` is not allowed") && said.contains("host-paths.edgereel.dev"), "{said}");
    assert!(said.contains(&world.data.display().to_string()), "{said}");
    // Of the same letters, and not below it.
    let beside = format!("{}beside", world.data.display());
    let said = refused(&lab, &sink("beside", "gate", &beside, "beside"));
    assert!(said.contains(&beside), "{said}");
    let volume = json!([{"name": "more", "source": {"hostPath": {"path": "/dev"}}}]);
    let said = refused(&lab, &lab.synthetic("peeping", json!({"suspend": true, "template": {"volumes": volume}})));
    assert!(said.contains("the hostPath `/dev` is not allowed"), "{said}");

    lab.say("what was there stays, and can be edited");
    lab.edit(Kind::Sink, "old", &json!({"suspend": false}));
    lab.edit(Kind::Sink, "old", &json!({"suspend": true}));

    lab.apply(&[sink("first", "gate", &allowed, "shared")]);
    let said = refused(&lab, &sink("second", "gate", &allowed, "shared"));
    assert!(said.contains("the sink `first` reads the same in the group `shared` too"), "{said}");
    // The group that a sink has by default can be named, too.
    lab.apply(&[lab.sink("unnamed", "gate", json!({"suspend": true}))]);
    let said = refused(&lab, &sink("third", "gate", &allowed, &format!("edgereel.{}.unnamed", lab.namespace)));
    assert!(said.contains("the sink `unnamed` reads the same"), "{said}");
    lab.apply(&[sink("other-group", "gate", &allowed, "other"), sink("other-camera", "yard", &allowed, "shared")]);
    lab.edit(Kind::Sink, "first", &json!({"durability": {"flushInterval": "2s"}}));
}
