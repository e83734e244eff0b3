//! Claims that are declared larger than they are.

use serde_json::{Value, json};

use crate::{
    kube::{Kind, until},
    lab::{Lab, condition, uid},
    world::World,
};

/// What a claim asks for, and what it has.
fn sizes(lab: &Lab<'_>, claim: &str) -> anyhow::Result<(String, String)> {
    let claim = lab.look(Kind::Claim, claim)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok((text(&claim["spec"]["resources"]["requests"]["storage"]), text(&claim["status"]["capacity"]["storage"])))
}

fn sink(lab: &Lab<'_>, name: &str, class: &str) -> Value {
    let storage = json!({"volumeClaimTemplate": {"size": "100Mi", "storageClassName": class}});
    let mut sink = lab.sink(name, "cam", json!({"storage": storage}));
    sink["spec"]["placement"] = json!({});
    sink
}

fn resize(lab: &Lab<'_>, sink: &str, size: &str) {
    lab.edit(Kind::Sink, sink, &json!({"storage": {"volumeClaimTemplate": {"size": size}}}));
}

pub fn claims_grow_under_their_pods_and_what_cannot_grow_says_so(world: &World) {
    let lab = Lab::open(world, "claims");
    let rigid = format!("{}-rigid", lab.namespace);
    lab.kube().apply(&[json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": rigid},
        "provisioner": "edgereel.invalid/dir", "volumeBindingMode": "WaitForFirstConsumer", "allowVolumeExpansion": false,
    })]);
    lab.apply(&[lab.synthetic("cam", json!({})), sink(&lab, "grows", "standard"), sink(&lab, "stays", &rigid)]);
    for name in ["grows", "stays"] {
        lab.await_ready(Kind::Sink, name);
    }
    let stored = |name: &str, more: i64| {
        let of = |sink: &Value| sink["status"]["framesStored"].as_i64().unwrap_or_default();
        let before = of(&lab.look(Kind::Sink, name).unwrap_or_else(|e| panic!("{e:#}")));
        lab.until(Kind::Sink, name, "frames are stored", |sink| of(sink) >= before + more);
    };
    stored("grows", 20);
    let pod = lab.await_pods(Kind::Sink, "grows", 1).remove(0);
    let set = lab.workload(Kind::Sink, "grows").unwrap_or_else(|e| panic!("{e:#}"));

    resize(&lab, "grows", "200Mi");
    until("the claim has grown", || match sizes(&lab, "data-grows-sink-0")? {
        (asked, has) if asked == "200Mi" && has == "200Mi" => Ok(()),
        other => anyhow::bail!("{other:?}"),
    });
    let anew = until("the StatefulSet is another", || match lab.workload(Kind::Sink, "grows")? {
        now if uid(&now) != uid(&set) && now["metadata"]["deletionTimestamp"].is_null() => Ok(now),
        _ => anyhow::bail!("it is the same"),
    });
    let claim = &anew["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"];
    assert_eq!(*claim, "200Mi");
    lab.await_ready(Kind::Sink, "grows");
    stored("grows", 20);
    let pods = lab.await_pods(Kind::Sink, "grows", 1);
    assert_eq!(uid(&pods[0]), uid(&pod), "the pod was made anew");
    assert_eq!(pods[0]["metadata"]["ownerReferences"][0]["uid"], anew["metadata"]["uid"], "nobody looks after it");

    lab.say("one more worker has a claim of the new size");
    lab.edit(Kind::Sink, "grows", &json!({"replicas": 2}));
    until("its claim is there", || match sizes(&lab, "data-grows-sink-1")? {
        (asked, _) if asked == "200Mi" => Ok(()),
        other => anyhow::bail!("{other:?}"),
    });

    lab.say("a class that lets nothing grow, and a smaller size");
    resize(&lab, "stays", "200Mi");
    let message = lab.await_reason(Kind::Sink, "stays", "ClaimsSized", "ClaimsNotExpandable");
    assert!(
        message.contains("`data-stays-sink-0` cannot grow from 100Mi to 200Mi") && message.contains(&rigid),
        "{message}"
    );
    stored("stays", 10);
    resize(&lab, "stays", "50Mi");
    lab.await_reason(Kind::Sink, "stays", "ClaimsSized", "ClaimsCannotShrink");
    resize(&lab, "stays", "100Mi");
    lab.until(Kind::Sink, "stays", "it is said no more", |sink| condition(sink, "ClaimsSized").is_none());
    assert_eq!(sizes(&lab, "data-stays-sink-0").ok().map(|(asked, _)| asked).as_deref(), Some("100Mi"));
    world.kube.run(&["delete", &format!("storageclass/{rigid}")]);
}
