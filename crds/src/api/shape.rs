//! A kind's JSON schema, boiled down to the few shapes that our types have.
//!
//! The walk over a document and the reference manual both read these shapes. A schema that says something which no shape
//! holds is a bug of ours, and the test here finds it.

mod pod;

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::Value;

/// What a value may be.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// A mapping with these fields and no others.
    Object(Vec<Field>),
    /// A mapping with exactly one of these fields.
    OneOf(Vec<Field>),
    /// A mapping from any names to values of one shape.
    Dict(Box<Shape>),
    /// A list.
    List {
        /// Each item's shape.
        item: Box<Shape>,
        /// How many items there have to be.
        min: u64,
        /// How many there may be.
        max: Option<u64>,
    },
    /// One of these words.
    Choice(Vec<Word>),
    /// A text.
    Text(Text),
    /// A text or a whole number.
    IntOrText(Text),
    /// A whole number.
    Integer {
        /// The least.
        min: Option<f64>,
        /// The most.
        max: Option<f64>,
    },
    /// A number.
    Number {
        /// The least.
        min: Option<f64>,
        /// The most.
        max: Option<f64>,
    },
    /// `true` or `false`.
    Bool,
    /// One of Kubernetes' own types.
    Upstream {
        /// Its name there, as in `Affinity`.
        name: String,
        /// What it may be.
        shape: Box<Shape>,
    },
}

/// What a text may be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Text {
    /// The regular expression that it matches.
    pub pattern: Option<String>,
    /// The fewest characters.
    pub min: u64,
    /// The most characters.
    pub max: Option<u64>,
}

/// A word that a field may have.
#[derive(Clone, Debug, PartialEq)]
pub struct Word {
    /// The word.
    pub word: String,
    /// What it means; empty where the word says all.
    pub description: String,
}

/// A field of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// The name.
    pub name: String,
    /// What it may be.
    pub shape: Shape,
    /// Whether it has to be there.
    pub required: bool,
    /// What it does.
    pub description: String,
    /// What it is when it is not given.
    pub default: Option<Value>,
}

/// The JSON schema of a type, without references.
pub fn schema_of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|s| {
        s.inline_subschemas = true;
        s.meta_schema = None;
    });
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

impl Shape {
    /// The shape of a type's schema.
    ///
    /// # Errors
    /// The part of the schema that is none of our shapes.
    pub fn of<T: JsonSchema>() -> Result<Shape, String> {
        Shape::parse(&schema_of::<T>())
    }

    /// The shape of a schema without references.
    ///
    /// # Errors
    /// The part of the schema that is none of our shapes.
    pub fn parse(schema: &Value) -> Result<Shape, String> {
        let upstream = schema["title"].as_str().and_then(|title| title.strip_prefix("io.k8s."));
        match (upstream, schema) {
            (Some(name), Value::Object(schema)) => {
                let name = name.rsplit('.').next().unwrap_or(name).to_owned();
                if schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true)) {
                    return Ok(Shape::Upstream { name, shape: Box::new(pod::shape()?) });
                }
                let untitled: serde_json::Map<_, _> =
                    schema.iter().filter(|(key, _)| *key != "title").map(|(k, v)| (k.clone(), v.clone())).collect();
                Ok(Shape::Upstream { name, shape: Box::new(Shape::parse(&untitled.into())?) })
            }
            _ => Shape::parse_own(schema),
        }
    }

    fn parse_own(schema: &Value) -> Result<Shape, String> {
        if let Some([inner, null]) = schema["anyOf"].as_array().map(Vec::as_slice)
            && null["type"] == "null"
        {
            return Shape::parse(inner);
        }
        if schema["x-kubernetes-int-or-string"] == true {
            return Ok(Shape::IntOrText(text(schema)));
        }
        if let Some(branches) = schema["oneOf"].as_array() {
            return parse_one_of(branches);
        }
        if let Some(words) = schema["enum"].as_array() {
            let word = |w: &Value| w.as_str().map(|w| Word { word: w.into(), description: String::new() });
            return Ok(Shape::Choice(words.iter().filter_map(word).collect()));
        }
        let kind = match &schema["type"] {
            Value::Array(kinds) => kinds.first().and_then(Value::as_str),
            kind => kind.as_str(),
        };
        match kind {
            Some("object") if schema["additionalProperties"].is_object() => {
                Ok(Shape::Dict(Box::new(Shape::parse(&schema["additionalProperties"])?)))
            }
            Some("object") => Ok(Shape::Object(fields(schema)?)),
            Some("array") => Ok(Shape::List {
                item: Box::new(Shape::parse(&schema["items"])?),
                min: schema["minItems"].as_u64().unwrap_or(0),
                max: schema["maxItems"].as_u64(),
            }),
            Some("string") => Ok(Shape::Text(text(schema))),
            Some("integer") => Ok(Shape::Integer { min: schema["minimum"].as_f64(), max: schema["maximum"].as_f64() }),
            Some("number") => Ok(Shape::Number { min: schema["minimum"].as_f64(), max: schema["maximum"].as_f64() }),
            Some("boolean") => Ok(Shape::Bool),
            _ => Err(format!("no shape for {schema}")),
        }
    }
}

fn parse_one_of(branches: &[Value]) -> Result<Shape, String> {
    let words: Option<Vec<Word>> = branches
        .iter()
        .map(|b| b["const"].as_str().map(|word| Word { word: word.into(), description: description(b) }))
        .collect();
    if let Some(words) = words {
        return Ok(Shape::Choice(words));
    }
    let mut members = Vec::new();
    for branch in branches {
        for mut member in fields(branch)? {
            // schemars puts a variant's text on the branch, and its type's text on the field.
            let variant = description(branch);
            if !variant.is_empty() {
                member.description = variant;
            }
            members.push(member);
        }
    }
    Ok(Shape::OneOf(members))
}

fn fields(schema: &Value) -> Result<Vec<Field>, String> {
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let properties = schema["properties"].as_object().ok_or_else(|| format!("no properties in {schema}"))?;
    let field = |(name, schema): (&String, &Value)| {
        Ok(Field {
            name: name.clone(),
            shape: Shape::parse(schema)?,
            required: required.contains(&name.as_str()),
            description: description(schema),
            default: schema.get("default").cloned(),
        })
    };
    properties.iter().map(field).collect()
}

fn text(schema: &Value) -> Text {
    Text {
        pattern: schema["pattern"].as_str().map(Into::into),
        min: schema["minLength"].as_u64().unwrap_or(0),
        max: schema["maxLength"].as_u64(),
    }
}

fn description(schema: &Value) -> String {
    schema["description"].as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{
        camera_stream::CameraStreamSpec, camera_worker::CameraWorkerSpec, frame_sink::FrameSinkSpec,
        kafka_connection::KafkaConnectionSpec,
    };

    #[test]
    fn every_kind_has_a_shape() {
        for shape in [
            Shape::of::<KafkaConnectionSpec>(),
            Shape::of::<CameraWorkerSpec>(),
            Shape::of::<CameraStreamSpec>(),
            Shape::of::<FrameSinkSpec>(),
        ] {
            assert!(matches!(shape, Ok(Shape::Object(_))), "{shape:?}");
        }
    }

    #[test]
    fn a_union_has_its_members_with_their_descriptions() {
        let Ok(Shape::Object(spec)) = Shape::of::<FrameSinkSpec>() else { panic!("an object") };
        let output = spec.iter().find(|f| f.name == "output").expect("output");
        let Shape::OneOf(members) = &output.shape else { panic!("a union: {output:?}") };
        let names: Vec<(&str, &str)> = members.iter().map(|m| (&*m.name, &*m.description)).collect();
        let dataset = ("dataset", "Pictures, each a file, and a CSV that says what each shows.");
        assert_eq!(names, [("jpegFiles", "One JPEG file a frame."), ("video", "AVI files."), dataset]);
        assert!(output.required);
    }
}
