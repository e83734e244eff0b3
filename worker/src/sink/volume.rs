//! Where a volume is on this machine: its own path, or below `--storage-root`.
//!
//! With one volume in the files the storage root is that volume, as in a pod; several have each its place below it, so that
//! what two disks would hold never meets in one directory. Where a resource was begun it goes on, however many there are by now:
//! its commits are about the files there.

use std::path::{Path, PathBuf};

use edgereel_crds::{
    name::ObjectName,
    plan::{SinkPlan, Volume},
    status::Reason,
    storage::Storage,
};
use edgereel_runtime::{fault::Fault, plain::plain};

use super::private_dir::{self, make_directory};

/// A resource's volume, and what it has there.
pub struct Place<'a> {
    /// The resource.
    pub name: &'a ObjectName,
    /// Where Kubernetes finds the volume.
    pub storage: Storage,
    /// Its place below a storage root.
    pub volume: &'a Volume,
    /// The resource's own folder below the volume's root, once it has begun.
    pub own: PathBuf,
}

impl<'a> Place<'a> {
    /// A sink's.
    pub fn of(plan: &'a SinkPlan) -> Result<Self, Fault> {
        let own = Path::new(plan.spec.output.directory()).join(private_dir::place(&plan.name)?);
        Ok(Place { name: &plan.name, storage: plan.spec.storage.clone(), volume: &plan.volume, own })
    }
}

/// Where a sink's volume is; it may not be there.
///
/// # Errors
/// Where only Kubernetes knows: a claim without a storage root.
pub fn of_sink(plan: &SinkPlan, storage_root: Option<&Path>) -> Result<PathBuf, Fault> {
    locate(&Place::of(plan)?, storage_root)
}

/// Where a volume is; it may not be there.
///
/// # Errors
/// Where only Kubernetes knows: a claim without a storage root.
pub fn locate(place: &Place<'_>, storage_root: Option<&Path>) -> Result<PathBuf, Fault> {
    let claim = |what: String| {
        let message =
            format!("spec.storage.{what} is known to Kubernetes only; say where it is with `--storage-root DIR`");
        Err(Fault::new(Reason::InvalidConfiguration, message))
    };
    match (storage_root, &place.storage) {
        (Some(root), _) => Ok(below(root, place)),
        (None, Storage::HostPath(host)) => Ok(PathBuf::from(&host.path)),
        (None, Storage::PersistentVolumeClaim(named)) => claim(format!("persistentVolumeClaim `{}`", named.claim_name)),
        (None, Storage::VolumeClaimTemplate(_)) => claim("volumeClaimTemplate".into()),
    }
}

/// The same, whose disk has to be there. What lies below a storage root may not be yet.
pub fn find(place: &Place<'_>, storage_root: Option<&Path>) -> Result<PathBuf, Fault> {
    let volume = locate(place, storage_root)?;
    let disk = storage_root.unwrap_or(&volume);
    // Whoever named it can mend it.
    let (named, other) = match storage_root {
        Some(_) => ("--storage-root", "or name another"),
        None => ("spec.storage", "`--storage-root DIR` puts another in its place"),
    };
    let missing = |message| Err(Fault::new(Reason::StorageMissing, message));
    match disk.metadata() {
        Ok(found) if found.is_dir() => Ok(volume),
        Ok(_) => missing(format!("{named}: {} is not a directory: name one", disk.display())),
        Err(e) => missing(format!(
            "{named}: {} cannot be used: {}; mount the disk or make the directory; {other}",
            disk.display(),
            plain(e)
        )),
    }
}

/// The same, there: a disk that is not mounted is missed, what lies below a storage root is made.
pub fn open(place: &Place<'_>, storage_root: Option<&Path>) -> Result<PathBuf, Fault> {
    let volume = find(place, storage_root)?;
    if let Some(root) = storage_root {
        make_directory(root, volume.strip_prefix(root).unwrap_or(Path::new("")))?;
    }
    Ok(volume)
}

fn below(root: &Path, place: &Place<'_>) -> PathBuf {
    let apart = root.join(&place.volume.place);
    let (fitting, other) = if place.volume.alone { (root.to_path_buf(), apart) } else { (apart, root.to_path_buf()) };
    if !fitting.join(&place.own).is_dir() && other.join(&place.own).is_dir() {
        tracing::warn!(
            resource = %place.name,
            "it goes on in {}, where it was begun; one that begins now with these files gets {}",
            other.display(), fitting.display()
        );
        return other;
    }
    fitting
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn plans(storages: &[&str]) -> Vec<SinkPlan> {
        let sink = |(n, storage): (usize, &&str)| {
            format!(
                "---\napiVersion: edgereel.dev/v1alpha1\nkind: FrameSink\nmetadata: {{name: s{n}}}\nspec:\n  from: {{topics: [t{n}]}}\n  \
                 kafka: {{connectionRef: {{name: lab}}}}\n  output: {{jpegFiles: {{directory: frames{n}}}}}\n  \
                 storage: {storage}\n  placement: {{nodes: [edge-1]}}\n"
            )
        };
        let connection = "apiVersion: edgereel.dev/v1alpha1\nkind: KafkaConnection\nmetadata: {name: lab}\n\
                          spec: {bootstrapServers: [\"127.0.0.1:9092\"]}\n";
        let sinks: String = storages.iter().enumerate().map(sink).collect();
        edgereel_crds::load(&[("f.yaml".into(), format!("{connection}{sinks}"))]).expect("sound").sinks
    }

    const HOST: &str = "{hostPath: {path: /KafkaSSD/data}}";
    const OTHER: &str = "{hostPath: {path: /mnt/other/}}";
    const CLAIM: &str = "{persistentVolumeClaim: {claimName: frames}}";
    const TEMPLATE: &str = "{volumeClaimTemplate: {size: 1Gi}}";

    #[test]
    fn several_volumes_have_each_its_place_below_a_storage_root_and_a_single_one_is_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let places = |storages: &[&str]| -> Vec<String> {
            let place = |plan| open(&Place::of(plan).expect("named"), Some(dir.path())).expect("made");
            let relative = |path: PathBuf| path.strip_prefix(dir.path()).expect("below").display().to_string();
            plans(storages).iter().map(place).map(relative).collect()
        };
        assert_eq!(places(&[HOST]), [""]);
        assert_eq!(
            places(&["{hostPath: {path: /a}}", "{hostPath: {path: /a/}}"]),
            ["", ""],
            "one volume, written in two ways"
        );
        assert_eq!(
            places(&[HOST, OTHER, CLAIM, TEMPLATE]),
            ["KafkaSSD/data", "mnt/other", "persistentVolumeClaim/default/frames", "volumeClaimTemplate/default/s3"]
        );
        assert!(dir.path().join("mnt/other").is_dir());
    }

    #[test]
    fn a_sink_goes_on_where_it_was_begun() {
        let dir = tempfile::tempdir().expect("a directory");
        let [alone, second] = [&plans(&[HOST])[0], &plans(&[HOST, OTHER])[0]].map(Clone::clone);
        let own = |root: &Path| root.join("frames0/.edgereel/default.s0");
        fs::create_dir_all(own(dir.path())).expect("made");
        for plan in [&alone, &second] {
            assert_eq!(of_sink(plan, Some(dir.path())), Ok(dir.path().to_path_buf()));
        }
        let apart = dir.path().join("KafkaSSD/data");
        fs::create_dir_all(own(&apart)).expect("made");
        assert_eq!(of_sink(&second, Some(dir.path())), Ok(apart.clone()), "both are there: the rule holds");
        fs::remove_dir(own(dir.path())).expect("removed");
        assert_eq!(of_sink(&alone, Some(dir.path())), Ok(apart));
    }

    #[test]
    fn a_disk_that_is_not_mounted_is_named_and_not_made() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("ssd");
        let plan = &plans(&[&format!("{{hostPath: {{path: {}}}}}", path.display())])[0];
        let named_by = [
            (None, "spec.storage: ", "`--storage-root DIR`"),
            (Some(path.as_path()), "--storage-root: ", "name another"),
        ];
        for (root, named, remedy) in named_by {
            let fault = open(&Place::of(plan).expect("named"), root).expect_err("missing");
            assert!(fault.message.starts_with(named) && fault.message.contains(remedy), "{fault}");
            assert_eq!(fault.reason, Reason::StorageMissing);
            assert!(fault.message.contains("ssd") && fault.message.contains("mount the disk"), "{fault}");
            assert!(!path.exists());
        }
        fs::write(&path, "").expect("written");
        assert!(open(&Place::of(plan).expect("named"), None).expect_err("a file").message.contains("not a directory"));
    }

    #[test]
    fn a_claim_needs_to_be_told_where_it_is() {
        for storage in [CLAIM, TEMPLATE] {
            assert!(
                open(&Place::of(&plans(&[storage])[0]).expect("named"), None)
                    .expect_err("unknown")
                    .message
                    .contains("--storage-root")
            );
        }
    }
}
