//! The list of the files that a sink has begun, read line by line.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
};

use edgereel_crds::{plan::SinkPlan, status::Reason};

use crate::sink::{fault::OutputError, output::At, private_dir, video::segment_log::Line};

/// Where the list is.
#[derive(Clone)]
pub struct Log {
    path: PathBuf,
}

/// The names in the list, in order.
pub struct Lines {
    file: Option<BufReader<File>>,
    path: PathBuf,
    /// Of the name that was given last, from 1.
    number: usize,
    last: Option<usize>,
    /// The segment's own number, of the name that was given last.
    segment: u64,
}

impl Log {
    /// The list of this name, of a sink that writes to this directory.
    pub fn of(directory: &Path, plan: &SinkPlan, name: &str) -> Result<Self, OutputError> {
        Ok(Log { path: directory.join(private_dir::place(&plan.name)?).join(name) })
    }

    /// The segments' names up to this line.
    pub fn lines_to(&self, last: usize) -> Result<Lines, OutputError> {
        Ok(Lines { last: Some(last), ..self.lines()? })
    }

    /// The segments' names; none before the sink's first start.
    pub fn lines(&self) -> Result<Lines, OutputError> {
        let file = match File::open(&self.path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            file => Some(BufReader::new(file.at("read", &self.path)?)),
        };
        Ok(Lines { file, path: self.path.clone(), number: 0, last: None, segment: 0 })
    }

    /// The name that is last in it, and its line.
    pub fn last(&self) -> Result<Option<(usize, String)>, OutputError> {
        let (mut lines, mut last) = (self.lines()?, None);
        while let Some(line) = lines.next_name()? {
            last = Some(line);
        }
        Ok(last)
    }
}

impl Lines {
    /// Whether none of interest follows this line.
    pub fn is_last(&self, number: usize) -> bool {
        self.last == Some(number)
    }

    /// The number of the segment whose name was given last.
    pub fn segment(&self) -> u64 {
        self.segment
    }

    /// The next name and its line. A last line that is half there is a segment that is not there yet.
    pub fn next_name(&mut self) -> Result<Option<(usize, String)>, OutputError> {
        let Some(file) = self.file.as_mut().filter(|_| self.last != Some(self.number)) else { return Ok(None) };
        let mut text = vec![];
        file.read_until(b'\n', &mut text).at("read", &self.path)?;
        let Some(whole) = text.strip_suffix(b"\n") else { return Ok(None) };
        self.number += 1;
        let line: Line = serde_json::from_slice(whole).map_err(|_| {
            let message = format!("{} is damaged in line {}", self.path.display(), self.number);
            OutputError::storage(Reason::StorageError, message)
        })?;
        self.segment = line.segment;
        Ok(Some((self.number, line.file)))
    }
}
