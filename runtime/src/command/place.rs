//! Which resources a command is about, and what of them differs by place.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use edgereel_crds::{
    document::Reading,
    load::load_as,
    plan::{Plan, UnknownField},
    problem::Problem,
};

use super::documents::{Documents, print_problems, read_documents};
use crate::secrets::Secrets;

/// Which resources, and what of them differs by place.
#[derive(Debug, clap::Args)]
pub struct Place {
    /// Files or directories with resources (YAML or JSON; `-` is standard input). May be given several times.
    #[arg(short = 'f', long = "filename", required = true, num_args = 1.., value_name = "FILE|DIR")]
    pub files: Vec<PathBuf>,
    /// What stands in for the resources' volumes: the volume itself where they name one only, DIR/<hostPath> and so on where
    /// they name several. Without it, `storage.hostPath.path` itself.
    #[arg(long, value_name = "DIR")]
    pub storage_root: Option<PathBuf>,
    /// Where secrets are: `secretRef {name, key}` is read at DIR/name/key, `configMapRef` at DIR/configmap_name/key. Secrets and
    /// ConfigMaps among the files work too.
    #[arg(long, value_name = "DIR")]
    pub secrets_dir: Option<PathBuf>,
}

/// What files ask for, with the secrets at hand.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Every resource, checked.
    pub plan: Plan,
    /// Fields that were passed over, and who passed over them; none where all were known.
    pub unknown: Option<String>,
    /// Those of the files, and those below `--secrets-dir`.
    pub secrets: Secrets,
    /// The files' texts.
    pub documents: Arc<Documents>,
}

impl Place {
    /// What the files ask for; or, the problems being printed, the exit status.
    pub fn read(&self, reading: Reading) -> Result<Loaded, ExitCode> {
        self.load(reading).map_err(|problems| {
            print_problems(&problems);
            ExitCode::FAILURE
        })
    }

    /// What the files ask for.
    ///
    /// # Errors
    /// Every problem of the files.
    pub fn load(&self, reading: Reading) -> Result<Loaded, Vec<Problem>> {
        self.load_texts(reading, read_documents(&self.files)?)
    }

    /// What texts ask for that were read elsewhere.
    ///
    /// # Errors
    /// Every problem of them.
    pub fn load_texts(&self, reading: Reading, documents: Documents) -> Result<Loaded, Vec<Problem>> {
        let mut plan = load_as(reading, &documents)?;
        let secrets = Secrets::new(self.secrets_dir.clone(), std::mem::take(&mut plan.secrets));
        let unknown = passed_over(&plan.unknown);
        Ok(Loaded { plan, unknown, secrets, documents: Arc::new(documents) })
    }

    /// Whether standard input is one of the files: it can be read once.
    pub fn reads_stdin(&self) -> bool {
        self.files.iter().any(|file| file.as_os_str() == "-")
    }
}

/// What there is to say of fields that were passed over.
fn passed_over(unknown: &[UnknownField]) -> Option<String> {
    let named = |unknown: &UnknownField| format!("{}: {}", unknown.resource, unknown.field);
    let all: Vec<String> = unknown.iter().map(named).collect();
    let version = env!("CARGO_PKG_VERSION");
    let words = || format!("this worker (version {version}) does not know, and passes over: {}", all.join(", "));
    (!all.is_empty()).then(words)
}
