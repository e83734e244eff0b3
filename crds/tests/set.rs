//! For whatever the API can hold: what was set is all that a reader needs, and neither defaults that the API server puts in
//! nor fields of a version to come change it.

use edgereel_crds::{
    CameraStreamSpec, CameraWorkerSpec, FrameSinkSpec, KafkaConnectionSpec,
    document::{Reading, read_as},
    fields::{Fields, shape, take_unknown},
    load,
    problem::FieldPath,
    shape::Shape,
};
use proptest::prelude::*;
use regex::Regex;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

/// Texts among which each of the schemas' patterns finds one that it takes.
const TEXTS: [&str; 15] = [
    "a",
    "https://minio.lan",
    "http://camera/video",
    "rtsp://camera/video",
    "10s",
    "64Mi",
    "1280x720",
    "/data",
    "A_B",
    "earliest",
    "source",
    "08:00",
    "0 2 * * *",
    "/dev/video0",
    "a/b",
];

/// Some value of a shape; `dice` decides which, and whether a field that need not be there is.
fn some(shape: &Shape, dice: &mut impl FnMut(u64) -> u64) -> Value {
    match shape {
        Shape::Upstream { shape, .. } => some(shape, dice),
        Shape::Object(fields) => {
            let there = fields.iter().filter(|field| field.required || dice(3) == 0).collect::<Vec<_>>();
            there.into_iter().map(|field| (field.name.clone(), some(&field.shape, dice))).collect::<Map<_, _>>().into()
        }
        Shape::OneOf(members) => {
            let member = &members[dice(members.len() as u64) as usize];
            json!({&member.name: some(&member.shape, dice)})
        }
        Shape::Dict(item) => json!({"key": some(item, dice)}),
        Shape::List { item, min, .. } => (0..(*min).max(dice(3))).map(|_| some(item, dice)).collect(),
        Shape::Choice(words) => json!(words[dice(words.len() as u64) as usize].word),
        Shape::Text(text) | Shape::IntOrText(text) => {
            let pattern = text.pattern.as_deref().map(|pattern| Regex::new(pattern).expect("a pattern"));
            let fits = |text: &&&str| pattern.as_ref().is_none_or(|pattern| pattern.is_match(text));
            json!(TEXTS.iter().find(fits).unwrap_or_else(|| panic!("no text for {pattern:?}")))
        }
        Shape::Integer { min, max } => {
            json!(min.unwrap_or(0.0).max(1.0).min(max.unwrap_or(9.0)) as i64 + dice(2) as i64)
        }
        Shape::Number { min, .. } => json!(min.unwrap_or(0.0) + 1.0),
        Shape::Bool => json!(dice(2) == 0),
    }
}

/// Puts a field that nobody knows into every mapping of fields; how many there are.
fn with_novelties(value: &mut Value, shape: &Shape) -> usize {
    match (shape, value) {
        (Shape::Upstream { shape, .. }, value) => with_novelties(value, shape),
        (Shape::Object(fields) | Shape::OneOf(fields), Value::Object(map)) => {
            let inside: usize = map
                .iter_mut()
                .filter_map(|(name, value)| Some((fields.iter().find(|field| field.name == *name)?, value)))
                .map(|(field, value)| with_novelties(value, &field.shape))
                .sum();
            map.insert("novelty".into(), json!({"level": 3}));
            inside + 1
        }
        (Shape::Dict(item), Value::Object(map)) => map.values_mut().map(|value| with_novelties(value, item)).sum(),
        (Shape::List { item, .. }, Value::Array(items)) => {
            items.iter_mut().map(|value| with_novelties(value, item)).sum()
        }
        _ => 0,
    }
}

fn holds<T>(seed: u64) -> Result<(), TestCaseError>
where
    T: Serialize + DeserializeOwned + schemars::JsonSchema + PartialEq + std::fmt::Debug + 'static,
{
    // SplitMix64.
    let mut state = seed;
    let mut dice = |sides: u64| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)) % sides
    };
    let spec: T = match serde_json::from_value(some(shape::<T>(), &mut dice)) {
        Ok(spec) => spec,
        Err(_) => return Err(TestCaseError::reject("no value of the type")),
    };
    let set = spec.set();
    let mut given = serde_json::to_value(&spec).expect("JSON");
    let novelties = with_novelties(&mut given, shape::<T>());
    let unknown = take_unknown(&mut given, shape::<T>(), &FieldPath::of("spec"));
    prop_assert_eq!(unknown.len(), novelties, "each is named");
    let read: T = serde_json::from_value(given).expect("readable without them");
    prop_assert_eq!(&read, &spec);
    prop_assert_eq!(&read.set(), &set, "nothing is set that nobody set");
    let again: T = serde_json::from_value(set).expect("all that has to be there is there");
    prop_assert_eq!(again, spec, "a reader decides the same defaults");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn what_was_set_says_all_of_a_camera(seed in any::<u64>()) {
        holds::<CameraStreamSpec>(seed)?;
    }

    #[test]
    fn what_was_set_says_all_of_a_pod_for_many_cameras(seed in any::<u64>()) {
        holds::<CameraWorkerSpec>(seed)?;
    }

    #[test]
    fn what_was_set_says_all_of_a_sink(seed in any::<u64>()) {
        holds::<FrameSinkSpec>(seed)?;
    }

    #[test]
    fn what_was_set_says_all_of_a_connection(seed in any::<u64>()) {
        holds::<KafkaConnectionSpec>(seed)?;
    }
}

const NEWER: &str = "\
apiVersion: edgereel.dev/v1alpha1
kind: KafkaConnection
metadata: {name: kafka, stage: new}
spec: {bootstrapServers: [\"kafka:9092\"], novelty: {level: 3}}
---
apiVersion: edgereel.dev/v1alpha1
kind: CameraStream
metadata: {name: gate}
spec:
  source: {synthetic: {seed: 7}, cache: {}}
  topic: {name: Gate}
  kafka: {connectionRef: {name: kafka}}
";

#[test]
fn a_person_is_told_of_a_field_that_there_is_not_and_a_worker_runs_without_it() {
    let files = [("a.yaml".to_owned(), NEWER.to_owned())];
    let problems = load(&files).expect_err("a person has typed it");
    assert_eq!(problems.len(), 4, "{problems:#?}");
    assert!(problems.iter().all(|problem| problem.message == "there is no such field"), "{problems:#?}");
    let plan = load::load_as(Reading::Lenient, &files).unwrap_or_else(|problems| panic!("{problems:#?}"));
    assert_eq!(plan.cameras.len(), 1);
    let unknown: Vec<String> = plan.unknown.iter().map(|u| format!("{}: {}", u.resource, u.field)).collect();
    assert_eq!(
        unknown,
        [
            "KafkaConnection/kafka: metadata.stage",
            "KafkaConnection/kafka: spec.novelty",
            "CameraStream/gate: spec.source.cache",
            "CameraStream/gate: spec.source.synthetic.seed"
        ]
    );
}

#[test]
fn what_cannot_be_passed_over_is_a_problem_for_a_worker_too() {
    for (from, to) in [
        ("synthetic: {seed: 7}, cache: {}", "carrierPigeon: {}"),
        ("topic: {name: Gate}", "topic: {name: Gate, key: moon}"),
        ("topic: {name: Gate}", "topic: {name: Gate, partitions: many}"),
    ] {
        let read = read_as(Reading::Lenient, &[("a.yaml".to_owned(), NEWER.replace(from, to))]);
        assert_eq!(read.problems.len(), 1, "{to}: {:#?}", read.problems);
    }
}
