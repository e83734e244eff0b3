//! Pictures, each a file: those of a `jpegFiles` output, and of a data set.
//!
//! Each record's file is looked for by its name, which is a function of the record. That nothing else is there is found by
//! walking the directory, and needs one bit a file: the place that a name leads back to. Only where something is left over
//! is the directory walked again, for the names.

use std::{
    collections::{HashMap, HashSet},
    io::{self, Read},
    path::{Path, PathBuf},
    rc::Rc,
};

use edgereel_crds::{dataset::Dataset, frame_sink, plan::SinkPlan, status::Reason, template::Template};
use edgereel_frame::wire::Decoded;
use jiff::Timestamp;

use super::{
    Extents, Files, Found, Look, Place,
    offsets::Places,
    past::Past,
    plain_file,
    report::{Finding, Findings},
};
use crate::sink::{
    fault::OutputError,
    file_name::{self, Values},
    output::At,
    record_name::Names,
    walk::walk,
};

/// The output's directory, and what stood in it when it was walked.
pub(super) struct Pictures {
    directory: PathBuf,
    template: Template,
    names: Names,
    /// Whether each name ends as the picture's kind does, whatever it is.
    by_kind: bool,
    /// Other files that the sink writes there.
    pub(super) own: HashSet<String>,
    /// How many directories a name leads down.
    deep: usize,
    /// The places of files that no record has claimed yet.
    unclaimed: Places,
    /// Places to which several files lead back.
    several: Places,
    /// The names that are right, of those places.
    right: HashMap<Place, String>,
    /// Names of records that lead back to another place: their fields can be read in two ways.
    ambiguous: HashSet<String>,
    /// Whether there are files whose names lead nowhere.
    strangers: bool,
    past: Rc<Past>,
    /// How many files are of former topics.
    former: u64,
}

/// What a file is, as far as its name tells.
enum Judged {
    /// Not one that should not be there.
    Fine,
    /// Of a topic that was made anew since, or is not read any more.
    Former,
    /// One that should not be there.
    Wrong(Finding),
}

impl Pictures {
    /// The files of a `jpegFiles` output, of a sink that has read these `earlier` topics. `progress` hears of so many files.
    pub(super) fn list(
        root: &Path,
        spec: &frame_sink::JpegFiles,
        plan: &SinkPlan,
        earlier: &[String],
        progress: &mut dyn FnMut(u64),
    ) -> Result<Self, OutputError> {
        let template = spec.template().map_err(invalid)?;
        let names = Names::new(&template, &plan.topics, earlier).map_err(|e| invalid(e.to_string()))?;
        let deep = spec.file_name.matches('/').count();
        Self::walk(root.join(&spec.directory), (template, names, deep), None, progress)
    }

    /// The pictures of a data set, which has these `own` files beside them.
    pub(super) fn of_dataset(
        root: &Path,
        spec: &Dataset,
        plan: &SinkPlan,
        earlier: &[String],
        own: HashSet<String>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Self, OutputError> {
        let template = spec.template().map_err(invalid)?;
        let names = Names::of_pictures(&template, &plan.topics, earlier).map_err(|e| invalid(e.to_string()))?;
        let deep = spec.file_name.matches('/').count();
        Self::walk(root.join(&spec.directory), (template, names, deep), Some(own), progress)
    }

    /// Walks the directory.
    fn walk(
        directory: PathBuf,
        (template, names, deep): (Template, Names, usize),
        own: Option<HashSet<String>>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Self, OutputError> {
        let mut files = Pictures {
            directory,
            names,
            template,
            by_kind: own.is_some(),
            own: own.unwrap_or_default(),
            deep,
            unclaimed: Places::default(),
            several: Places::default(),
            right: HashMap::new(),
            ambiguous: HashSet::new(),
            strangers: false,
            past: Rc::default(),
            former: 0,
        };
        let mut count = 0;
        let Pictures { directory, names, own, deep, unclaimed, several, strangers, .. } = &mut files;
        walk(directory, *deep, &mut |name| {
            count += 1;
            progress(count);
            match names.place(name) {
                None => *strangers |= !own.contains(name),
                Some(place) if !unclaimed.insert(&place) => {
                    several.insert(&place);
                }
                Some(_) => {}
            }
        })?;
        Ok(files)
    }

    /// The name of a record's picture.
    pub(super) fn name(&self, place: &Place, frame: &Decoded) -> Result<String, OutputError> {
        let values = Values {
            camera: frame.camera.as_deref().unwrap_or_default(),
            topic: &place.topic,
            partition: place.partition,
            offset: place.offset,
            captured_at: frame.captured_at,
            sequence: frame.sequence,
            segment: None,
            label: Some(&frame.label),
        };
        let name = file_name::render(&self.template, &values)?;
        Ok(if self.by_kind { name + frame.info.kind.ending() } else { name })
    }

    /// What is wrong with a file, as far as its name tells. Files that came after the first walk are none of its.
    fn judge(&self, name: &str, extents: &Extents) -> Judged {
        let file = self.directory.join(name);
        let foreign = |detail: &str| Judged::Wrong(Finding::Foreign { file: file.clone(), detail: detail.into() });
        if self.ambiguous.contains(name) {
            return Judged::Fine;
        }
        let Some(place) = self.names.place(name) else {
            let own = self.own.contains(name);
            return if own { Judged::Fine } else { foreign("not a name that this sink gives") };
        };
        let again = self.several.contains(&place) && self.right.get(&place).is_some_and(|right| right != name);
        if !again && !self.unclaimed.contains(&place) {
            return Judged::Fine;
        }
        if self.past.is_former_file(&place.topic, self.names.with_topic, || written(&file)) {
            return Judged::Former;
        }
        match extents.get(&(place.topic.clone(), place.partition)) {
            None => foreign("of a topic or partition that the sink does not read"),
            Some(extent) if place.offset >= extent.high => foreign("of an offset beyond the topic's end"),
            // The topic's retention has taken the record: there is nothing to compare the file with.
            Some(extent) if place.offset < extent.low => Judged::Fine,
            Some(_) => Judged::Wrong(Finding::Duplicate { place, file }),
        }
    }
}

/// When a file was written.
fn written(file: &Path) -> Option<Timestamp> {
    file.symlink_metadata().and_then(|meta| meta.modified()).ok()?.try_into().ok()
}

/// How a file differs from what it should hold; none when it does not.
fn difference(path: &Path, expected: &[u8]) -> io::Result<Option<String>> {
    let Some(file) = plain_file::open(path)? else { return Ok(Some(format!("{} is not a file", path.display()))) };
    let size = file.metadata()?.len();
    if size != expected.len() as u64 {
        return Ok(Some(format!("{} has {size} bytes, the record {}", path.display(), expected.len())));
    }
    let mut bytes = Vec::with_capacity(expected.len());
    // One that grows meanwhile is read no further.
    file.take(size + 1).read_to_end(&mut bytes)?;
    Ok((bytes != expected).then(|| format!("{} has other bytes than the record", path.display())))
}

fn invalid(what: String) -> OutputError {
    OutputError::storage(Reason::InvalidConfiguration, what)
}

impl Files for Pictures {
    fn learn(&mut self, past: Rc<Past>) {
        self.past = past;
    }

    fn find(&mut self, place: &Place, frame: &Decoded, _: &Look) -> Result<Found, OutputError> {
        let name = self.name(place, frame)?;
        let path = self.directory.join(&name);
        let difference = match difference(&path, &frame.picture) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Found::Missing),
            result => result.at("read", &path)?,
        };
        if self.names.place(&name).as_ref() == Some(place) {
            self.unclaimed.remove(place);
            if self.several.contains(place) {
                self.right.insert(place.clone(), name);
            }
        } else {
            self.ambiguous.insert(name);
        }
        Ok(difference.map_or(Found::Whole, Found::Torn))
    }

    fn finish(&mut self, extents: &Extents, found: &mut Findings) -> Result<(), OutputError> {
        if self.unclaimed.is_empty() && self.several.is_empty() && !self.strangers {
            return Ok(());
        }
        let (this, mut former) = (&*self, 0);
        walk(&this.directory, this.deep, &mut |name| match this.judge(name, extents) {
            Judged::Fine => {}
            Judged::Former => former += 1,
            Judged::Wrong(finding) => found.add(finding),
        })?;
        self.former = former;
        Ok(())
    }

    fn former(&self) -> u64 {
        self.former
    }
}
