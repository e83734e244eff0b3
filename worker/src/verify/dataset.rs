//! The files of a `dataset` output: its pictures, and the CSVs with a row for each.
//!
//! A record is whole when its picture is there as [`pictures`](super::pictures) looks for it, and its row, once, with this path and
//! this annotation.

use std::{
    collections::HashSet,
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom, Take},
    path::{Path, PathBuf},
    rc::Rc,
};

use edgereel_crds::{dataset as spec, plan::SinkPlan, status::Reason};
use edgereel_frame::wire::Decoded;

use super::{
    Extents, Files, Found, Look, Place,
    log::Log,
    offsets::Offsets,
    past::Past,
    pictures::Pictures,
    plain_file,
    report::{Finding, Findings},
    side_by_side::{End, Open, Row, Sheets, SideBySide},
};
use crate::sink::{
    dataset::{
        LOG,
        rows::{self, HEADER, path_of},
    },
    fault::OutputError,
    output::At,
    record_name::Names,
};

/// The pictures and the rows.
pub(super) struct Dataset {
    pictures: Pictures,
    rows: SideBySide<Csvs>,
    log: Log,
    /// What is wrong with the CSVs themselves.
    findings: Findings,
    former: u64,
}

/// What a row says: the path and the annotation, as they stand in their cells.
struct Said {
    path: String,
    annotation: String,
}

/// A sink's CSVs.
struct Csvs {
    names: Rc<Names>,
}

/// A CSV that is read.
struct Csv {
    path: PathBuf,
    rows: csv::Reader<Take<BufReader<File>>>,
    names: Rc<Names>,
}

impl Sheets for Csvs {
    type Open = Csv;

    fn end(&self, path: &Path) -> Result<End, OutputError> {
        match path.metadata() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(End(0)),
            meta => Ok(End(meta.at("read", path)?.len())),
        }
    }

    fn open(&self, path: &Path, end: Option<End>) -> Result<Option<Csv>, OutputError> {
        let mut file = match plain_file::open(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.at("read", path)?,
        };
        let Some(file) = &mut file else { return Ok(None) };
        let length = end.map_or_else(|| file.metadata().map(|meta| meta.len()), |end| Ok(end.0)).at("read", path)?;
        let file = file.try_clone().at("read", path)?;
        let rows = rows::reader(BufReader::with_capacity(1 << 16, file).take(length));
        Ok(Some(Csv { path: path.to_owned(), rows, names: self.names.clone() }))
    }
}

impl Open for Csv {
    type Said = Said;

    fn path(&self) -> &Path {
        &self.path
    }

    fn next(&mut self, fits: impl Fn(&str, i32) -> bool) -> Result<Option<Row<Said>>, OutputError> {
        let mut row = csv::ByteRecord::new();
        while self.rows.read_byte_record(&mut row).map_err(io::Error::from).at("read", &self.path)? {
            let Some((path, annotation)) = cells(&row) else { continue };
            let Some(place) = self.names.place(path_of(&path)) else { continue };
            if fits(&place.topic, place.partition) {
                let begins = row.position().map_or(0, csv::Position::byte);
                return Ok(Some(Row { place, begins, said: Said { path, annotation } }));
            }
        }
        Ok(None)
    }
}

/// The two cells of a row; what is not text is no cell of ours.
fn cells(row: &csv::ByteRecord) -> Option<(String, String)> {
    let text = |n| String::from_utf8(row.get(n)?.to_vec()).ok();
    (row.len() == 2).then_some((text(0)?, text(1)?))
}

impl Dataset {
    /// Walks the directory, and looks at the CSVs by themselves. `progress` hears of so many files.
    pub(super) fn list(
        root: &Path,
        spec: &spec::Dataset,
        plan: &SinkPlan,
        earlier: &[String],
        progress: &mut dyn FnMut(u64),
    ) -> Result<Self, OutputError> {
        let invalid = |e: String| OutputError::storage(Reason::InvalidConfiguration, e);
        let directory = root.join(&spec.directory);
        let log = Log::of(&directory, plan, LOG)?;
        let template = spec.template().map_err(invalid)?;
        let names = Names::of_pictures(&template, &plan.topics, earlier).map_err(|e| invalid(e.to_string()))?;
        let mut findings = Findings::default();
        let former = look_at(&directory, &log, &names, &plan.topics, &mut findings)?;
        let pictures = Pictures::of_dataset(root, spec, plan, earlier, listed(&log)?, progress)?;
        let rows = SideBySide::new(directory, log.clone(), Csvs { names: Rc::new(names) }, former);
        Ok(Dataset { pictures, rows, log, findings, former: 0 })
    }
}

/// The names of the CSVs.
fn listed(log: &Log) -> Result<HashSet<String>, OutputError> {
    let (mut lines, mut names) = (log.lines()?, HashSet::new());
    while let Some((_, name)) = lines.next_name()? {
        names.insert(name);
    }
    Ok(names)
}

/// What is wrong with each CSV by itself. How many rows are of other topics than these.
fn look_at(
    directory: &Path,
    log: &Log,
    names: &Names,
    topics: &[String],
    findings: &mut Findings,
) -> Result<u64, OutputError> {
    let Some((last, _)) = log.last()? else { return Ok(0) };
    let mut lines = log.lines_to(last)?;
    let mut others = 0;
    while let Some((number, name)) = lines.next_name()? {
        let path = directory.join(&name);
        let mut damaged = |detail: String| findings.add(Finding::Damaged { file: path.clone(), detail });
        // Whoever moved a closed one away has its records missing.
        let Some(mut file) = (match plain_file::open(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            file => file.at("read", &path)?,
        }) else {
            continue;
        };
        let mut start = vec![];
        (&file).take(HEADER.len() as u64).read_to_end(&mut start).at("read", &path)?;
        // The last may be one that is being begun.
        if start != HEADER && !(number == last && HEADER.starts_with(&start)) {
            damaged(format!("does not begin with `{}`", String::from_utf8_lossy(HEADER).trim()));
        }
        file.seek(SeekFrom::Start(HEADER.len() as u64)).at("read", &path)?;
        let mut rows = rows::reader(BufReader::with_capacity(1 << 16, file));
        let mut row = csv::ByteRecord::new();
        // A row that is half there is the last of a writer at work.
        let mut odd = None;
        while rows.read_byte_record(&mut row).map_err(io::Error::from).at("read", &path)? {
            if let Some(line) = odd.take() {
                damaged(line);
            }
            let place = cells(&row).and_then(|(path, _)| names.place(path_of(&path)));
            match place {
                Some(place) => others += u64::from(!topics.contains(&place.topic)),
                None => {
                    let line = row.position().map_or(0, csv::Position::line) + 1;
                    let text: String = row.iter().map(String::from_utf8_lossy).collect::<Vec<_>>().join(",");
                    let text: String = text.chars().take(80).collect();
                    odd = Some(format!("line {line} is not a row: `{}`", text.escape_debug()));
                }
            }
        }
        if let Some(line) = odd.filter(|_| number != last) {
            damaged(line);
        }
    }
    Ok(others)
}

impl Files for Dataset {
    fn learn(&mut self, past: Rc<Past>) {
        self.rows.learn(past.clone());
        self.pictures.learn(past);
    }

    fn begin(&mut self, topic: &str, partition: i32) -> Result<(), OutputError> {
        self.rows.begin(topic, partition)
    }

    fn find(&mut self, place: &Place, frame: &Decoded, look: &Look) -> Result<Found, OutputError> {
        let name = self.pictures.name(place, frame)?;
        let picture = self.pictures.find(place, frame, look)?;
        let Some((said, csv)) = self.rows.find(place, look)? else { return Ok(Found::Missing) };
        let annotation = frame.label.annotation.as_deref().unwrap_or_default();
        let torn = |what: String| Ok(Found::Torn(format!("{} {what}", csv.path.display())));
        if path_of(&said.path) != name {
            return torn(format!("names {}, the record {name}", said.path));
        }
        if !rows::holds(&said.annotation, annotation) {
            return torn(format!("has another annotation of {name} than the record"));
        }
        Ok(picture)
    }

    fn end(&mut self, look: &Look) -> Result<Offsets, OutputError> {
        self.rows.end(look)
    }

    fn finish(&mut self, extents: &Extents, found: &mut Findings) -> Result<(), OutputError> {
        let (of_rows, former) = self.rows.finish();
        found.absorb(std::mem::take(&mut self.findings));
        found.absorb(of_rows);
        // One that was begun meanwhile stands in the list by now: it gets its line before its file.
        self.pictures.own = listed(&self.log)?;
        self.pictures.finish(extents, found)?;
        self.former = former + self.pictures.former();
        Ok(())
    }

    fn former(&self) -> u64 {
        self.former
    }
}
