//! Which resources a command is about, and what of them differs by place.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use edgereel_crds::{load, plan::Plan, problem::Problem};

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
    /// Where secrets are: `secretRef {name, key}` is read at DIR/name/key. Secrets among the files work too.
    #[arg(long, value_name = "DIR")]
    pub secrets_dir: Option<PathBuf>,
}

/// What files ask for, with the secrets at hand.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Every resource, checked.
    pub plan: Plan,
    /// Those of the files, and those below `--secrets-dir`.
    pub secrets: Secrets,
    /// The files' texts.
    pub documents: Arc<Documents>,
}

impl Place {
    /// What the files ask for; or, the problems being printed, the exit status.
    pub fn read(&self) -> Result<Loaded, ExitCode> {
        self.load().map_err(|problems| {
            print_problems(&problems);
            ExitCode::FAILURE
        })
    }

    /// What the files ask for.
    ///
    /// # Errors
    /// Every problem of the files.
    pub fn load(&self) -> Result<Loaded, Vec<Problem>> {
        self.load_texts(read_documents(&self.files)?)
    }

    /// What texts ask for that were read elsewhere.
    ///
    /// # Errors
    /// Every problem of them.
    pub fn load_texts(&self, documents: Documents) -> Result<Loaded, Vec<Problem>> {
        let mut plan = load(&documents)?;
        let secrets = Secrets::new(self.secrets_dir.clone(), std::mem::take(&mut plan.secrets));
        Ok(Loaded { plan, secrets, documents: Arc::new(documents) })
    }

    /// Whether standard input is one of the files: it can be read once.
    pub fn reads_stdin(&self) -> bool {
        self.files.iter().any(|file| file.as_os_str() == "-")
    }
}
