//! What a `template` has to keep to.

use super::{
    Report,
    overrides::{Whose, overrides},
    own::{OWN_VOLUMES, is_own_path},
    paths,
};
use crate::{
    api::pod::{PodTemplate, VolumeSource},
    problem::{FieldPath, shown},
};

pub(super) fn template(template: &PodTemplate, report: &mut Report<'_>) {
    let at = FieldPath::of("spec.template");
    for (n, variable) in template.env.iter().enumerate() {
        if template.env[..n].iter().any(|other| other.name == variable.name) {
            let field = at.key("env").index(n).key("name");
            report.add(field, format!("`{}` is there twice", shown(&variable.name)), "keep one of them");
        }
    }
    for (n, volume) in template.volumes.iter().enumerate() {
        let field = at.key("volumes").index(n);
        if OWN_VOLUMES.contains(&volume.name.as_str()) || volume.name.starts_with("secret-") {
            let message = format!("`{}` is a volume of Edgereel's own", shown(&volume.name));
            report.add(field.key("name"), message, "choose another name");
        }
        if template.volumes[..n].iter().any(|other| other.name == volume.name) {
            report.add(field.key("name"), format!("`{}` is there twice", shown(&volume.name)), "keep one of them");
        }
        if let VolumeSource::HostPath(host) = &volume.source
            && let Err((message, remedy)) = paths::host_path(&host.path)
        {
            report.add(field.key("source").key("hostPath").key("path"), message, remedy);
        }
    }
    for (n, mount) in template.volume_mounts.iter().enumerate() {
        let field = at.key("volumeMounts").index(n);
        if !template.volumes.iter().any(|volume| volume.name == mount.name) {
            let message = format!("there is no volume `{}`", shown(&mount.name));
            report.add(field.key("name"), message, "add it to `template.volumes`");
        }
        if let Err((message, remedy)) = paths::host_path(&mount.mount_path) {
            report.add(field.key("mountPath"), message, remedy);
        } else if is_own_path(&mount.mount_path) {
            let message = format!("`{}` is a path of Edgereel's own", shown(&mount.mount_path));
            report.add(field.key("mountPath"), message, "mount it elsewhere, for example below `/mnt`");
        }
        if template.volume_mounts[..n].iter().any(|other| other.mount_path == mount.mount_path) {
            report.add(field.key("mountPath"), "two volumes are mounted there", "keep one of them");
        }
    }
    let ours = template.pod_overrides.as_ref();
    for problem in ours.into_iter().flat_map(|ours| overrides(ours, &at.key("podOverrides"), Whose::Resource)) {
        report.add(problem.field, problem.message, problem.remedy);
    }
}
