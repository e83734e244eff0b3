//! Files in, a plan or every problem out: what `edgereel run` and `edgereel validate` call.

use crate::{
    check::{FieldProblem, References, Resource, Resources, check},
    document::{self, Document, Reading},
    name::{Kind, ObjectName},
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
    let document::Read { resources, documents, mut problems, unknown, revisions, restarts } =
        document::read_as(reading, files);
    let checked = check(&resources);
    if let Err(found) = &checked {
        problems.extend(found.iter().filter_map(|problem| located(problem, &documents)));
    }
    match checked {
        Ok(plan) if problems.is_empty() => Ok(Plan { unknown, revisions, restarts, ..plan }),
        _ => Err(sorted(problems, files)),
    }
}

/// What of some files can run, and what cannot.
#[derive(Clone, Debug, Default)]
pub struct Apart {
    /// What can.
    pub plan: Plan,
    /// Cameras and sinks that cannot, for what is wrong with them or with what they refer to.
    pub refused: Vec<Refused>,
    /// All that is wrong, with its place.
    pub problems: Vec<Problem>,
}

/// A resource that cannot run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: ObjectName,
    /// What is wrong, in words.
    pub why: String,
}

/// [`load_as`] for a process that runs many: what is wrong with one resource keeps no other from running.
pub fn load_apart(reading: Reading, files: &[(String, String)]) -> Apart {
    let document::Read { mut resources, documents, mut problems, unknown, revisions, restarts } =
        document::read_as(reading, files);
    let all = runnable(&resources);
    let mut plan = loop {
        match check(&resources) {
            Ok(plan) => break plan,
            Err(found) => {
                problems.extend(found.iter().filter_map(|problem| located(problem, &documents)));
                leave_out(&mut resources, &found);
            }
        }
    };
    (plan.unknown, plan.revisions, plan.restarts) = (unknown, revisions, restarts);
    let runs = |(kind, name): &(Kind, ObjectName)| plan.runs().iter().any(|r| r.kind == *kind && r.name == name);
    let refused = all.into_iter().filter(|resource| !runs(resource)).map(|(kind, name)| {
        let label = kind.label(&name);
        let own: Vec<String> = problems.iter().filter(|problem| problem.resource == label).map(in_words).collect();
        let why =
            if own.is_empty() { "what it refers to cannot be used: the log says why".into() } else { own.join(". ") };
        Refused { kind, name, why }
    });
    let refused = refused.collect();
    Apart { plan, refused, problems: sorted(problems, files) }
}

/// All that would run if nothing were wrong, each once.
fn runnable(resources: &Resources) -> Vec<(Kind, ObjectName)> {
    let cameras = resources.cameras.iter().map(|r| (Kind::CameraStream, r.name.clone()));
    let sinks = resources.sinks.iter().map(|r| (Kind::FrameSink, r.name.clone()));
    let unreadable = resources.unreadable.iter().map(|(kind, r)| (*kind, r.name.clone()));
    let mut all: Vec<_> = cameras.chain(sinks).chain(unreadable).filter(|(kind, _)| kind.program().is_some()).collect();
    all.sort();
    all.dedup();
    all
}

/// Takes the resources out that have problems. They are still there, so that those that refer to them have no problem more; but
/// one that is wrong only for being there is there no longer.
fn leave_out(resources: &mut Resources, problems: &[FieldProblem]) {
    let bad = |document: usize| problems.iter().any(|problem| problem.document == document);
    resources.unreadable.retain(|(_, r)| !bad(r.document));
    let Resources { connections, workers, cameras, sinks, unreadable, .. } = resources;
    unreadable.extend(taken(connections, bad).map(|r| (Kind::KafkaConnection, r)));
    unreadable.extend(taken(workers, bad).map(|r| (Kind::CameraWorker, r)));
    unreadable.extend(taken(cameras, bad).map(|r| (Kind::CameraStream, r)));
    unreadable.extend(taken(sinks, bad).map(|r| (Kind::FrameSink, r)));
}

fn taken<S>(all: &mut Vec<Resource<S>>, bad: impl Fn(usize) -> bool) -> impl Iterator<Item = Resource<References>> {
    let taken: Vec<_> = all.extract_if(.., |r| bad(r.document)).collect();
    taken.into_iter().map(|r| Resource { name: r.name, spec: References::default(), document: r.document })
}

fn in_words(problem: &Problem) -> String {
    let Problem { field, message, remedy, .. } = problem;
    let parts = [(field.as_str(), ": "), (message.as_str(), "; "), (remedy.as_str(), "")];
    let text: String =
        parts.iter().filter(|(part, _)| !part.is_empty()).flat_map(|(part, end)| [*part, *end]).collect();
    text.trim_end_matches("; ").to_owned()
}

/// A problem at its place.
fn located(problem: &FieldProblem, documents: &[Document]) -> Option<Problem> {
    let document = documents.get(problem.document)?;
    let at = document.node.locate(&problem.field);
    Some(Problem {
        file: document.file.clone(),
        line: at.line,
        column: at.column,
        resource: document.label.clone(),
        field: problem.field.to_string(),
        message: problem.message.clone(),
        remedy: problem.remedy.clone(),
    })
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
