//! The CSV of a data set: `image_path,annotation`, one row a picture, as RFC 4180 has it but for its line ends, which are line
//! feeds.
//!
//! A cell that holds a comma, a quotation mark or a line end is quoted, and quotation marks in it are doubled. A path never
//! begins as a formula does; of annotations [`Formulas`] decides.

use std::{borrow::Cow, io};

use edgereel_crds::dataset::Formulas;

use crate::sink::{disk::AppendFile, fault::OutputError};

/// The headings.
pub const HEADER: &[u8] = b"image_path,annotation\n";
/// Rows wait in memory up to about so many bytes: they are written with the next flush at the latest.
const WAITING: usize = 64 << 10;

/// What a formula begins with, in any spreadsheet; of full width, too. Source: OWASP, CSV Injection.
const FORMULA: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];

/// Whether a spreadsheet would take a cell for a formula. A number is none; `-inf` is one, the name of something.
fn is_formula(cell: &str) -> bool {
    cell.starts_with(FORMULA) && !cell.parse().is_ok_and(f64::is_finite)
}

/// A picture's path as it stands in its cell.
pub fn path_cell(name: &str) -> Cow<'_, str> {
    if is_formula(name) { format!("./{name}").into() } else { name.into() }
}

/// The path that a cell holds.
pub fn path_of(cell: &str) -> &str {
    cell.strip_prefix("./").unwrap_or(cell)
}

/// An annotation as it stands in its cell.
pub fn annotation_cell(annotation: &str, formulas: Formulas) -> Cow<'_, str> {
    match formulas {
        Formulas::Escape if is_formula(annotation) || annotation.starts_with('\'') => format!("'{annotation}").into(),
        _ => annotation.into(),
    }
}

/// Whether a cell holds this annotation, whatever was asked for when it was written.
pub fn holds(cell: &str, annotation: &str) -> bool {
    [Formulas::Keep, Formulas::Escape].iter().any(|formulas| annotation_cell(annotation, *formulas) == cell)
}

/// The rows of a CSV behind its headings.
pub fn reader<R: io::Read>(rows: R) -> csv::Reader<R> {
    csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(rows)
}

/// The CSV that is written.
pub struct Rows {
    file: AppendFile,
    waiting: Vec<u8>,
    /// How many it has.
    count: u64,
}

impl Rows {
    /// Begins an empty file.
    pub fn begin(mut file: AppendFile) -> Result<Self, OutputError> {
        file.append(&[HEADER])?;
        Ok(Rows { file, waiting: vec![], count: 0 })
    }

    /// Goes on with a file that was cut back to so many whole rows.
    pub fn resume(file: AppendFile, count: u64) -> Self {
        Rows { file, waiting: vec![], count }
    }

    /// The file.
    pub fn file(&self) -> &AppendFile {
        &self.file
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How many bytes it has with the rows that wait.
    pub fn length(&self) -> u64 {
        self.file.length() + self.waiting.len() as u64
    }

    /// Writes the rows that wait, if there are many. Before a picture is written, so that a full disk is met while there
    /// is nothing to undo.
    pub fn make_room(&mut self) -> Result<(), OutputError> {
        if self.waiting.len() < WAITING { Ok(()) } else { self.flush() }
    }

    /// Writes the rows that wait.
    pub fn flush(&mut self) -> Result<(), OutputError> {
        if !self.waiting.is_empty() {
            self.file.append(&[&self.waiting])?;
            self.waiting.clear();
        }
        Ok(())
    }

    /// Adds a row.
    pub fn add(&mut self, name: &str, annotation: &str, formulas: Formulas) {
        row(&mut self.waiting, name, annotation, formulas);
        self.count += 1;
    }
}

fn row(to: &mut Vec<u8>, name: &str, annotation: &str, formulas: Formulas) {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::Any(b'\n')).from_writer(to);
    let cells = [path_cell(name), annotation_cell(annotation, formulas)];
    // Writing to memory cannot fail, and both rows have two cells.
    let _ = writer.write_record(cells.iter().map(|cell| cell.as_bytes())).and_then(|()| Ok(writer.flush()?));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(rows: &[(&str, &str)], formulas: Formulas) -> Vec<u8> {
        let mut text = HEADER.to_vec();
        rows.iter().for_each(|(name, annotation)| row(&mut text, name, annotation, formulas));
        text
    }

    #[test]
    fn cells_are_quoted_where_they_have_to_be() {
        let rows = [
            ("output_images/a.png", "2024-09-10"),
            ("b,c.jpg", "a, \"b\""),
            ("d.jpg", "two\r\nlines"),
            ("e.jpg", ""),
            ("f.jpg", " blank "),
        ];
        let expected = "image_path,annotation\noutput_images/a.png,2024-09-10\n\"b,c.jpg\",\"a, \"\"b\"\"\"\n\
                        d.jpg,\"two\r\nlines\"\ne.jpg,\nf.jpg, blank \n";
        assert_eq!(String::from_utf8(written(&rows, Formulas::Escape)).expect("text"), expected);
    }

    #[test]
    fn what_a_spreadsheet_would_run_is_text_and_numbers_stay_numbers() {
        let cells = [
            ("=1+1", "'=1+1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("-cmd|' /C calc'!A0", "'-cmd|' /C calc'!A0"),
            ("\t=1", "'\t=1"),
            ("+x", "'+x"),
            ("-inf", "'-inf"),
            ("+nan", "'+nan"),
            ("\n=1", "'\n=1"),
            ("\r=1", "'\r=1"),
            ("＝1+1", "'＝1+1"),
            ("＋x", "'＋x"),
            ("－x", "'－x"),
            ("＠SUM(A1)", "'＠SUM(A1)"),
            ("'quoted'", "''quoted'"),
            ("-1", "-1"),
            ("+2.5e3", "+2.5e3"),
            ("a=b", "a=b"),
        ];
        for (annotation, cell) in cells {
            assert_eq!(annotation_cell(annotation, Formulas::Escape), cell);
            assert_eq!(annotation_cell(annotation, Formulas::Keep), annotation);
        }
        assert_eq!((path_cell("=a/b.png"), path_of("./=a/b.png")), ("./=a/b.png".into(), "=a/b.png"));
    }

    proptest! {
        #[test]
        fn whatever_stands_in_a_row_is_read_back(
            rows in prop::collection::vec((".{0,20}", "(.|[,\"\n\r='-]){0,20}"), 0..10), escape in any::<bool>(),
        ) {
            let formulas = if escape { Formulas::Escape } else { Formulas::Keep };
            let borrowed: Vec<(&str, &str)> = rows.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
            let text = written(&borrowed, formulas);
            let read: Vec<(String, String)> = reader(&text[..]).into_records().skip(1).map(|record| {
                let record = record.expect("a row");
                assert_eq!(record.len(), 2);
                let annotation = &record[1];
                let plain = if escape { annotation.strip_prefix('\'').unwrap_or(annotation) } else { annotation };
                (path_of(&record[0]).to_owned(), plain.to_owned())
            }).collect();
            let expected: Vec<_> = rows.iter().map(|(a, b)| (path_of(a).to_owned(), b.clone())).collect();
            prop_assert_eq!(&read, &expected);
            for (record, (_, annotation)) in reader(&text[..]).into_records().skip(1).zip(&rows) {
                prop_assert!(holds(&record.expect("a row")[1], annotation));
            }
        }
    }
}
