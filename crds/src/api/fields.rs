//! What of a value was set, and what of it nobody here knows: the two questions by which an API can grow.
//!
//! Whoever reads decides a default; whoever writes (the operator, for a worker) passes on [`set`](Fields::set) alone. So a field
//! that is added with a default changes no document and no hash. What a newer API has is [taken out](take_unknown) and named,
//! instead of making all the rest unreadable; strict is only the reading of what a person has typed
//! ([`document`](crate::document)). Both go over a kind's [`Shape`]: no type has a rule of its own.

use std::{
    any::TypeId,
    collections::HashMap,
    sync::{LazyLock, Mutex, PoisonError},
};

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::{
    api::shape::{Field, Shape},
    problem::FieldPath,
};

/// A field that no shape here has.
#[derive(Clone, Debug, PartialEq)]
pub struct Unknown {
    /// Where it stands.
    pub field: FieldPath,
    /// What it says.
    pub value: Value,
}

/// The shape of a type, made once.
///
/// # Panics
/// The type's schema has none. The tests of `shape` see to it that every kind's has.
pub fn shape<T: JsonSchema + 'static>() -> &'static Shape {
    static MADE: LazyLock<Mutex<HashMap<TypeId, &'static Shape>>> = LazyLock::new(Mutex::default);
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    // There are as many as there are kinds.
    made.entry(TypeId::of::<T>())
        .or_insert_with(|| Box::leak(Box::new(Shape::of::<T>().expect("a kind's schema has a shape"))))
}

/// A value of which one can say what was set.
pub trait Fields: Serialize + JsonSchema + 'static {
    /// It without what is as it would be without being written.
    fn set(&self) -> Value;
}

impl<T: Serialize + JsonSchema + 'static> Fields for T {
    fn set(&self) -> Value {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        without_defaults(&mut value, shape::<T>());
        value
    }
}

/// Takes out of a value that stands at `path` what its shape does not have, and gives it.
///
/// Of a choice between fields, one that is not known is taken out only beside one that is: alone it is the choice itself, and
/// who does not know it cannot read the value.
pub fn take_unknown(value: &mut Value, shape: &Shape, path: &FieldPath) -> Vec<Unknown> {
    let mut taken = Vec::new();
    take(value, shape, path, &mut taken);
    taken
}

fn take(value: &mut Value, shape: &Shape, path: &FieldPath, taken: &mut Vec<Unknown>) {
    match (shape, value) {
        (Shape::Upstream { shape, .. }, value) => take(value, shape, path, taken),
        (Shape::Object(fields), Value::Object(map)) => take_from(map, fields, path, taken),
        (Shape::OneOf(members), Value::Object(map)) if members.iter().any(|member| map.contains_key(&member.name)) => {
            take_from(map, members, path, taken);
        }
        (Shape::Dict(item), Value::Object(map)) => {
            map.iter_mut().for_each(|(key, value)| take(value, item, &path.key(key), taken));
        }
        (Shape::List { item, .. }, Value::Array(items)) => {
            items.iter_mut().enumerate().for_each(|(n, value)| take(value, item, &path.index(n), taken));
        }
        _ => {}
    }
}

fn take_from(map: &mut serde_json::Map<String, Value>, fields: &[Field], path: &FieldPath, taken: &mut Vec<Unknown>) {
    map.retain(|name, value| match fields.iter().find(|field| field.name == *name) {
        Some(field) => {
            take(value, &field.shape, &path.key(name), taken);
            true
        }
        None => {
            // A field without a value is a field left out.
            if !value.is_null() {
                taken.push(Unknown { field: path.key(name), value: std::mem::take(value) });
            }
            false
        }
    });
}

/// Takes out of a value what is as its shape says that it is when it is left out.
pub fn without_defaults(value: &mut Value, shape: &Shape) {
    match (shape, value) {
        (Shape::Upstream { shape, .. }, value) => without_defaults(value, shape),
        (Shape::Object(fields), Value::Object(map)) => map.retain(|name, value| {
            let Some(field) = fields.iter().find(|field| field.name == *name) else { return true };
            without_defaults(value, &field.shape);
            !is_left_out(value, field)
        }),
        // Which member there is says something, whatever is in it.
        (Shape::OneOf(members), Value::Object(map)) => map.iter_mut().for_each(|(name, value)| {
            if let Some(member) = members.iter().find(|member| member.name == *name) {
                without_defaults(value, &member.shape);
            }
        }),
        (Shape::Dict(item), Value::Object(map)) => map.values_mut().for_each(|value| without_defaults(value, item)),
        (Shape::List { item, .. }, Value::Array(items)) => {
            items.iter_mut().for_each(|value| without_defaults(value, item));
        }
        _ => {}
    }
}

/// Whether a field that has this value, without the defaults in it, may as well be left out.
fn is_left_out(value: &Value, field: &Field) -> bool {
    let Some(mut default) = field.default.clone() else { return false };
    without_defaults(&mut default, &field.shape);
    *value == default
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    /// A kind as it was.
    #[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "camelCase")]
    struct Before {
        name: String,
        #[serde(default)]
        rate: Rate,
        source: Source,
        #[serde(default)]
        parts: Vec<Part>,
    }

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
    struct Rate {
        #[serde(default)]
        target: u32,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "camelCase")]
    enum Source {
        File(Part),
        Pipe(Part),
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
    struct Part {
        path: String,
    }

    /// The same with a defaulted field more in each place where one can be.
    #[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "camelCase")]
    struct After {
        name: String,
        #[serde(default)]
        rate: RateAfter,
        source: SourceAfter,
        #[serde(default)]
        parts: Vec<PartAfter>,
        #[serde(default)]
        burst: Burst,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
    #[serde(default)]
    struct RateAfter {
        target: u32,
        least: u32,
    }

    impl Default for RateAfter {
        fn default() -> Self {
            RateAfter { target: 0, least: 10 }
        }
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "camelCase")]
    enum SourceAfter {
        File(PartAfter),
        Pipe(PartAfter),
        Socket(PartAfter),
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
    struct PartAfter {
        path: String,
        #[serde(default = "ten")]
        depth: u32,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
    #[serde(default)]
    struct Burst {
        frames: u32,
        every: Option<u32>,
    }

    impl Default for Burst {
        fn default() -> Self {
            Burst { frames: 10, every: None }
        }
    }

    fn ten() -> u32 {
        10
    }

    /// As the API server gives it once a newer definition is there: with every default.
    fn materialised() -> Value {
        json!({
            "name": "a",
            "rate": {"target": 0, "least": 10},
            "source": {"file": {"path": "/x", "depth": 10}},
            "parts": [{"path": "/y", "depth": 10}],
            "burst": {"frames": 10, "every": null},
        })
    }

    fn read<T: serde::de::DeserializeOwned + JsonSchema + 'static>(mut value: Value) -> (T, Vec<String>) {
        let unknown = take_unknown(&mut value, shape::<T>(), &FieldPath::of("spec"));
        let read = serde_json::from_value(value.clone()).unwrap_or_else(|e| panic!("{e}: {value}"));
        (read, unknown.iter().map(|unknown| unknown.field.to_string()).collect())
    }

    #[test]
    fn what_was_set_is_the_same_before_and_after_fields_with_defaults_were_added() {
        let set = json!({"name": "a", "source": {"file": {"path": "/x"}}, "parts": [{"path": "/y"}]});
        let (before, unknown) = read::<Before>(materialised());
        assert_eq!(before.set(), set);
        assert_eq!(unknown, ["spec.rate.least", "spec.source.file.depth", "spec.parts[0].depth", "spec.burst"]);
        let (after, unknown) = read::<After>(materialised());
        assert_eq!((after.set(), unknown.as_slice()), (set.clone(), &[][..]));
        assert_eq!(read::<After>(set).0, after, "who reads it decides the same defaults");
    }

    #[test]
    fn what_differs_from_its_default_stays() {
        let mut value = materialised();
        value["rate"]["least"] = json!(5);
        value["burst"]["every"] = json!(3);
        value["source"] = json!({"socket": {"path": "/x", "depth": 1}});
        assert_eq!(
            read::<After>(value).0.set(),
            json!({"name": "a", "rate": {"least": 5}, "source": {"socket": {"path": "/x", "depth": 1}},
                "parts": [{"path": "/y"}], "burst": {"every": 3}})
        );
    }

    #[test]
    fn a_choice_that_is_not_known_is_left_for_its_reader_to_refuse_and_is_taken_out_beside_a_known_one() {
        let taken = |mut value: Value| {
            let unknown = take_unknown(&mut value, shape::<Before>(), &FieldPath::default());
            (value["source"].clone(), unknown.len())
        };
        let alone = json!({"socket": {"path": "/x"}});
        assert_eq!(taken(json!({"source": alone})), (alone, 0));
        let beside = json!({"file": {"path": "/x"}, "cache": {}, "nothing": null});
        assert_eq!(taken(json!({"source": beside})), (json!({"file": {"path": "/x"}}), 1));
    }
}
