//! Least privilege: restricted namespaces, hostPaths that the operator does not allow.

use edgereel_tests::{project_root, scratch, unique};
use serde_json::json;

use crate::{
    kube::{Kind, until},
    lab::Lab,
    world::World,
};

pub fn a_claimed_volume_works_where_pod_security_is_restricted(world: &World) {
    let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    let lab = Lab::labelled(world, "restricted", labels);
    let storage = json!({"volumeClaimTemplate": {"size": "100Mi"}});
    let mut sink = lab.sink("frames", "cam", json!({"storage": storage}));
    sink["spec"]["placement"] = json!({});
    lab.apply(&[lab.synthetic("cam", json!({})), sink]);
    lab.await_ready(Kind::Camera, "cam");
    lab.await_ready(Kind::Sink, "frames");
    for (kind, name) in [(Kind::Camera, "cam"), (Kind::Sink, "frames")] {
        let pod = lab.await_pods(kind, name, 1).remove(0);
        let container = &pod["spec"]["containers"][0]["securityContext"];
        assert_eq!(container["readOnlyRootFilesystem"], true, "{name}");
        assert_eq!(container["capabilities"]["drop"], json!(["ALL"]), "{name}");
        assert_eq!(pod["spec"]["automountServiceAccountToken"], false, "{name}");
    }
    lab.until(Kind::Sink, "frames", "frames are stored", |s| s["status"]["framesStored"].as_i64() > Some(20));
    lab.until(Kind::Sink, "frames", "the volume's size is told", |s| s["status"]["diskUsed"].is_string());

    // The sink goes, the claim and what is in it stay.
    let claims = lab.kube().list(Kind::Claim, Some(&lab.namespace), "");
    assert_eq!(claims.len(), 1, "{claims:#?}");
    lab.run(&["delete", "fsink", "frames", "--timeout=60s"]);
    until("the sink's pods are gone", || match lab.pods(Kind::Sink, "frames") {
        Err(_) => Ok(()),
        Ok(pods) => anyhow::bail!("{} are there", pods.len()),
    });
    let left = lab.kube().list(Kind::Claim, Some(&lab.namespace), "");
    assert_eq!(left.len(), 1, "the claim is gone with the sink");
    assert!(left[0]["metadata"]["deletionTimestamp"].is_null());
}

pub fn a_local_volume_needs_no_privileged_namespace_and_no_chown(world: &World) {
    let lab = Lab::labelled(world, "local", json!({"pod-security.kubernetes.io/enforce": "restricted"}));
    // As a disk is after mkdir: root's.
    std::os::unix::fs::chown(&lab.disk, Some(0), Some(0)).unwrap_or_else(|e| panic!("{}: {e}", lab.disk.display()));
    let path = project_root().join("examples/kubernetes/local-volume/volume.yaml");
    let example = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let volume = unique("volume");
    let here = example
        .replace("edge-1-frames", &volume)
        .replace("edge-1", &lab.node())
        .replace("edge-disk", &volume)
        .replace("/KafkaSSD/data", &lab.disk.to_string_lossy())
        .replace("namespace: cameras", &format!("namespace: {}", lab.namespace));
    let file = scratch::root().join(format!("{volume}.yaml"));
    std::fs::write(&file, here).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    lab.run(&["apply", "-f", &file.to_string_lossy()]);

    let mut documents = vec![lab.synthetic("cam", json!({}))];
    for name in ["frames", "again"] {
        let storage = json!({"persistentVolumeClaim": {"claimName": volume}});
        let mut sink = lab.sink(name, "cam", json!({"storage": storage}));
        sink["spec"]["placement"] = json!({});
        documents.push(sink);
    }
    lab.apply(&documents);
    for name in ["frames", "again"] {
        lab.await_ready(Kind::Sink, name);
        lab.await_frames(name, 10);
        let pod = lab.await_pods(Kind::Sink, name, 1).remove(0);
        assert_eq!(pod["spec"]["nodeName"], lab.node(), "{name} is where the volume is");
    }
    lab.run(&["delete", "fsink", "--all", "--timeout=60s"]);
    lab.run(&["delete", "pvc", &volume, "--timeout=60s"]);
    world.kube.run(&["delete", &format!("pv/{volume}"), &format!("storageclass/{volume}"), "--timeout=60s"]);
    assert!(crate::lab::count(&lab.disk) > 0, "the frames went with the volume");
}

pub fn a_host_path_outside_the_allowed_ones_is_refused(world: &World) {
    let lab = Lab::open(world, "outside");
    lab.apply(&[lab.synthetic("cam", json!({}))]);
    let storage = json!({"hostPath": {"path": "/etc/edgereel-e2e"}});
    lab.apply(&[lab.sink("frames", "cam", json!({"storage": storage}))]);
    let message = lab.await_reason(Kind::Sink, "frames", "Stalled", "HostPathNotAllowed");
    assert!(message.contains("/etc/edgereel-e2e"), "{message}");
    assert!(lab.pods(Kind::Sink, "frames").map_or(0, |pods| pods.len()) == 0, "a pod with that path was made");
    // One that says nothing of where its data is to be found again does not even get in.
    let mut adrift = lab.sink("adrift", "cam", json!({}));
    adrift["spec"]["placement"] = json!({});
    let refused = lab.try_apply(&[adrift]).expect_err("it may not float").to_string();
    assert!(refused.contains("hostPath needs placement"), "{refused}");
}
