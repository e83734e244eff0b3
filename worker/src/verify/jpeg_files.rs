//! The files of a `jpegFiles` output.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use edgereel_crds::{
    frame_sink,
    plan::SinkPlan,
    template::{Field, Piece, Template},
};
use regex::Regex;

use super::{Extents, Files, Found, Place, report::Finding};
use crate::{
    frame::wire::Decoded,
    sink::{
        fault::OutputError,
        file_name::{self, Values},
        output::At,
    },
};

/// All files below the output's directory, and which of them no record has claimed yet.
pub(super) struct JpegFiles {
    directory: PathBuf,
    template: Template,
    pattern: Regex,
    topics: Vec<String>,
    unclaimed: HashMap<String, u64>,
}

impl JpegFiles {
    pub(super) fn list(root: &Path, spec: &frame_sink::JpegFiles, plan: &SinkPlan) -> Result<Self, OutputError> {
        let directory = root.join(&spec.directory);
        let invalid = |e: String| OutputError::storage(edgereel_crds::status::Reason::InvalidConfiguration, e);
        let template = Template::parse(&spec.file_name).map_err(invalid)?;
        let pattern = pattern(&template).map_err(|e| invalid(e.to_string()))?;
        let deep = spec.file_name.matches('/').count();
        let mut unclaimed = HashMap::new();
        walk(&directory, "", deep, &mut unclaimed)?;
        Ok(JpegFiles { directory, template, pattern, topics: plan.topics.clone(), unclaimed })
    }

    /// The record that a name belongs to, if it is one of ours.
    fn place(&self, name: &str) -> Option<Place> {
        let parts = self.pattern.captures(name)?;
        let number = |field| parts.name(field)?.as_str().parse().ok();
        let topic = match (parts.name("topic"), self.topics.as_slice()) {
            (Some(topic), _) => topic.as_str().to_owned(),
            (None, [only]) => only.clone(),
            (None, _) => return None,
        };
        Some(Place { topic, partition: i32::try_from(number("partition")?).ok()?, offset: number("offset")? })
    }
}

/// Files up to `deep` directories down, with their sizes; our own folder is passed over.
fn walk(directory: &Path, below: &str, deep: usize, files: &mut HashMap<String, u64>) -> Result<(), OutputError> {
    for entry in fs::read_dir(directory).at("read", directory)? {
        let entry = entry.at("read", directory)?;
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == crate::sink::private_dir::FOLDER {
            continue;
        }
        let meta = entry.metadata().at("read", &path)?;
        let name = if below.is_empty() { name } else { format!("{below}/{name}") };
        if !meta.is_dir() {
            files.insert(name, meta.len());
        } else if deep > 0 {
            walk(&path, &name, deep - 1, files)?;
        }
    }
    Ok(())
}

/// A pattern that every name of the template fits, with groups for what names a record.
fn pattern(template: &Template) -> Result<Regex, regex::Error> {
    let mut seen = vec![];
    let mut text = String::from("^");
    for piece in template.pieces() {
        match piece {
            Piece::Text(literal) => text.push_str(&regex::escape(literal)),
            Piece::Field { field, .. } => {
                let group = match field {
                    Field::Partition => "(?<partition>[0-9]+)",
                    Field::Offset => "(?<offset>[0-9]+)",
                    Field::Topic => "(?<topic>[A-Za-z0-9._-]+?)",
                    _ => "[^/]+?",
                };
                let again = seen.contains(field);
                seen.push(*field);
                // A group's name may stand once; the same field again is any text.
                text.push_str(if again { "[^/]+?" } else { group });
            }
        }
    }
    text.push('$');
    Regex::new(&text)
}

impl Files for JpegFiles {
    fn find(&mut self, place: &Place, frame: &Decoded) -> Result<Found, OutputError> {
        let values = Values {
            camera: frame.camera.as_deref().unwrap_or_default(),
            topic: &place.topic,
            partition: place.partition,
            offset: place.offset,
            captured_at: frame.captured_at,
            sequence: frame.sequence,
            segment: None,
        };
        let name = file_name::render(&self.template, &values)?;
        let Some(size) = self.unclaimed.remove(&name) else { return Ok(Found::Missing) };
        let path = self.directory.join(&name);
        if size != frame.jpeg.len() as u64 {
            return Ok(Found::Torn(format!("{} has {size} bytes, the record {}", path.display(), frame.jpeg.len())));
        }
        if fs::read(&path).at("read", &path)? != frame.jpeg {
            return Ok(Found::Torn(format!("{} has other bytes than the record", path.display())));
        }
        Ok(Found::Whole)
    }

    fn finish(&mut self, extents: &Extents) -> Vec<Finding> {
        let judge = |name: &String| {
            let file = self.directory.join(name);
            let foreign = |detail: &str| Some(Finding::Foreign { file: file.clone(), detail: detail.into() });
            let Some(place) = self.place(name) else { return foreign("not a name that this sink gives") };
            match extents.get(&(place.topic.clone(), place.partition)) {
                None => foreign("of a topic or partition that the sink does not read"),
                Some(extent) if place.offset >= extent.high => foreign("of an offset beyond the topic's end"),
                // The topic's retention has taken the record: there is nothing to compare the file with.
                Some(extent) if place.offset < extent.low => None,
                Some(_) => Some(Finding::Duplicate { place, file }),
            }
        };
        self.unclaimed.keys().filter_map(judge).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_back_to_its_record() {
        let template = Template::parse("{timestamp:%Y-%m-%d}/frame_{partition}-{offset:06}_{timestamp}.jpg");
        let pattern = pattern(&template.expect("valid")).expect("valid");
        let parts = pattern.captures("2024-06-04/frame_2-000123_20240604_103000_123.jpg").expect("fits");
        assert_eq!((&parts["partition"], &parts["offset"]), ("2", "000123"));
        assert!(pattern.captures("holiday.jpg").is_none());
        assert!(pattern.captures("2024-06-04/frame_x-1_1.jpg").is_none());
    }
}
