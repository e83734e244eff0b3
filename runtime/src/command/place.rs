//! Which resources a command is about, and what of them differs by place.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use edgereel_crds::{
    document::Reading,
    load::{Apart, Refused, load_apart, load_as},
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
    /// Resources that cannot run, where that keeps the others from nothing.
    pub refused: Vec<Refused>,
    /// All that is wrong with the files, where that keeps the rest of them from nothing.
    pub problems: Vec<Problem>,
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
        let plan = load_as(reading, &documents)?;
        Ok(self.loaded(Apart { plan, ..Apart::default() }, documents))
    }

    /// What of the files can run, whatever is wrong with the rest of them.
    ///
    /// # Errors
    /// The files cannot be read at all.
    pub fn load_apart(&self, reading: Reading) -> Result<Loaded, Vec<Problem>> {
        let documents = read_documents(&self.files)?;
        Ok(self.loaded(load_apart(reading, &documents), documents))
    }

    fn loaded(&self, apart: Apart, documents: Documents) -> Loaded {
        let Apart { mut plan, refused, problems } = apart;
        let secrets = Secrets::new(self.secrets_dir.clone(), std::mem::take(&mut plan.secrets));
        let unknown = passed_over(&plan.unknown);
        Loaded { plan, unknown, refused, problems, secrets, documents: Arc::new(documents) }
    }

    /// All files that decide what runs, and the directories that hold them.
    pub fn all_files(&self) -> Vec<PathBuf> {
        self.files.iter().chain(&self.secrets_dir).cloned().collect()
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
