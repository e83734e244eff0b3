//! The directories that frames go to: opened once, made where they are missing, and watched while they are written to.

use std::{
    collections::HashMap,
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::sink::{disk::standing::Standing, fault::OutputError, private_dir::make_directory};

/// Open sub-directories that are kept.
const MAX_OPEN: usize = 64;

/// The output's directory and those below it.
pub struct Directories {
    top: Standing,
    below: HashMap<String, Below>,
    /// Counts up with each seal.
    batch: u64,
}

struct Below {
    standing: Standing,
    /// The last batch that wrote to it.
    batch: u64,
}

/// A directory to write to.
pub struct Target {
    /// It.
    pub directory: Arc<File>,
    /// Where it was not open yet: the directories above it, whose names lead to it. Whoever made them may have died before
    /// they were durable.
    pub above: Vec<Arc<File>>,
}

impl Directories {
    /// With the output's directory, which has to be there.
    pub fn open(top: &Path) -> Result<Self, OutputError> {
        Ok(Directories { top: Standing::open(top)?, below: HashMap::new(), batch: 0 })
    }

    /// The output's directory.
    pub fn top(&self) -> &Standing {
        &self.top
    }

    /// The directory of this path below the top, made if missing.
    pub fn get(&mut self, below: &str) -> Result<Target, OutputError> {
        let target = |directory: &Standing| Target { directory: directory.file().clone(), above: vec![] };
        if below.is_empty() {
            return Ok(target(&self.top));
        }
        if let Some(known) = self.below.get_mut(below) {
            known.batch = self.batch;
            return Ok(target(&known.standing));
        }
        if self.below.len() >= MAX_OPEN {
            self.written().try_for_each(Standing::check_unless_removed)?;
            self.below.clear();
        }
        let path = make_directory(self.top.path(), Path::new(below))?;
        let mut above = vec![self.top.file().clone()];
        let parents = path.ancestors().skip(1).take_while(|parent| *parent != self.top.path());
        for parent in parents {
            above.push(Standing::open(parent)?.file().clone());
        }
        let standing = Standing::open(&path)?;
        let directory = standing.file().clone();
        self.below.insert(below.to_owned(), Below { standing, batch: self.batch });
        Ok(Target { directory, above })
    }

    /// Closes a directory below the top; whether it was open.
    pub fn forget(&mut self, below: &str) -> bool {
        self.below.remove(below).is_some()
    }

    /// Those below the top that this batch wrote to.
    fn written(&self) -> impl Iterator<Item = &Standing> {
        self.below.values().filter(|below| below.batch == self.batch).map(|below| &below.standing)
    }

    /// Ends the batch: what it wrote to below the top.
    pub fn seal(&mut self) -> Vec<Standing> {
        let written = self.written().cloned().collect();
        self.batch += 1;
        written
    }

    /// The path of a file.
    pub fn path(&self, name: &str) -> PathBuf {
        self.top.path().join(name)
    }
}
