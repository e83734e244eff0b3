//! Files in, a plan or every problem out: what `edgereel run` and `edgereel validate` call.

use crate::{
    check::check,
    document::{self, Reading},
    plan::Plan,
    problem::Problem,
};

/// Reads and checks all resources of all files, each a name and a text.
///
/// # Errors
/// Every problem of every document, each with its place, by file in the order given and then by line.
pub fn load(files: &[(String, String)]) -> Result<Plan, Vec<Problem>> {
    load_as(Reading::Strict, files)
}

/// [`load`], as strictly as is said.
///
/// # Errors
/// As for [`load`].
pub fn load_as(reading: Reading, files: &[(String, String)]) -> Result<Plan, Vec<Problem>> {
    let document::Read { resources, documents, mut problems, unknown } = document::read_as(reading, files);
    let checked = check(&resources);
    if let Err(found) = &checked {
        for problem in found {
            let Some(document) = documents.get(problem.document) else { continue };
            let at = document.node.locate(&problem.field);
            problems.push(Problem {
                file: document.file.clone(),
                line: at.line,
                column: at.column,
                resource: document.label.clone(),
                field: problem.field.to_string(),
                message: problem.message.clone(),
                remedy: problem.remedy.clone(),
            });
        }
    }
    match checked {
        Ok(plan) if problems.is_empty() => Ok(Plan { unknown, ..plan }),
        _ => Err(sorted(problems, files)),
    }
}

fn sorted(mut problems: Vec<Problem>, files: &[(String, String)]) -> Vec<Problem> {
    let place = |file: &str| files.iter().position(|(name, _)| name == file);
    problems.sort_by(|a, b| {
        (place(&a.file), a.line, a.column, &a.field, &a.message).cmp(&(
            place(&b.file),
            b.line,
            b.column,
            &b.field,
            &b.message,
        ))
    });
    // An alias brings the same problem once for each place that it is used in.
    problems.dedup();
    problems
}
