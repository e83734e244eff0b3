//! `{"frame": <base64 JPEG>, "timestamp": …}` from any producer, and labelled pictures. The text of a picture is decoded where
//! it stands; only escapes and line breaks cost a copy.

use std::{borrow::Cow, fmt};

use base64::{
    Engine,
    alphabet::{self, Alphabet},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use jiff::Timestamp;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;

use super::{Invalid, Label, Take, time};
use crate::reasons::InvalidReason;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The object without what may stand before it; `None` when it is no object.
fn object(value: &[u8]) -> Option<&[u8]> {
    let text = value.strip_prefix(BYTE_ORDER_MARK).unwrap_or(value).trim_ascii_start();
    text.starts_with(b"{").then_some(text)
}

/// Whether `auto` takes a value for JSON.
pub(super) fn looks_like(value: &[u8]) -> bool {
    object(value).is_some()
}

/// The picture, not yet inspected, the time if it names an instant, and what is said of it.
pub(super) fn read(value: &[u8], take: Take) -> Result<(Bytes, Option<Timestamp>, Label), Invalid> {
    let bad = |detail: &dyn fmt::Display| Invalid::new(InvalidReason::bad_json, format!("bad JSON: {detail}"));
    let text = object(value).ok_or_else(|| bad(&"it is not a JSON object"))?;
    let (names, picture, timestamp, label) = match take {
        Take::Frames => {
            let Fields { frame, timestamp } = serde_json::from_slice(text).map_err(|e| bad(&e))?;
            ("`frame`", frame, timestamp, Label::default())
        }
        Take::Labelled => {
            let fields: Labelled<'_> = serde_json::from_slice(text).map_err(|e| bad(&e))?;
            let (picture, timestamp, label) = fields.sorted();
            ("`frame`, `image_file` or `image`", picture, timestamp, label)
        }
    };
    let Some(Field::Text(base64)) = picture else {
        let message = format!("the JSON has no text {names}");
        return Err(Invalid::new(InvalidReason::no_frame_field, message));
    };
    let picture = decode_base64(&base64)
        .map_err(|e| Invalid::new(InvalidReason::bad_base64, format!("the JSON's picture is not base64: {e}")))?;
    Ok((picture.into(), timestamp.and_then(|t| t.instant()), label))
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default)]
    frame: Option<Field<'a>>,
    #[serde(borrow, default)]
    timestamp: Option<Field<'a>>,
}

/// A labelled picture, by the names that producers give its parts.
#[derive(Deserialize)]
struct Labelled<'a> {
    #[serde(borrow, default)]
    frame: Option<Field<'a>>,
    #[serde(borrow, default)]
    image_file: Option<Field<'a>>,
    #[serde(borrow, default)]
    image: Option<Field<'a>>,
    #[serde(borrow, default)]
    timestamp: Option<Field<'a>>,
    #[serde(default)]
    annotation: Option<Value>,
    #[serde(default)]
    file: Option<Value>,
    #[serde(default)]
    image_name: Option<Value>,
    #[serde(default)]
    filename: Option<Value>,
}

impl<'a> Labelled<'a> {
    /// Of each part, the first that is there.
    fn sorted(self) -> (Option<Field<'a>>, Option<Field<'a>>, Label) {
        let file = [self.file, self.image_name, self.filename].into_iter().flatten().find_map(text);
        let label = Label { annotation: self.annotation.and_then(text), file };
        (self.frame.or(self.image_file).or(self.image), self.timestamp, label)
    }
}

/// A text as it is, anything else as JSON; null is nothing.
fn text(value: Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    }
}

/// A value of which only texts and numbers matter.
enum Field<'a> {
    Text(Cow<'a, str>),
    Whole(i64),
    Fraction(f64),
    Other,
}

impl Field<'_> {
    /// The instant that it names, if it does.
    fn instant(&self) -> Option<Timestamp> {
        match self {
            Field::Text(text) => time::of_text(text),
            Field::Whole(number) => time::of_number(*number),
            Field::Fraction(number) => time::of_fraction(*number),
            Field::Other => None,
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Field<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor)
    }
}

struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = Field<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Field::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Field::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Field::Fraction(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(number).map_or(Field::Other, Field::Whole))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Field::Whole(number))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Field::Other)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Field::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Field::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Field::Other)
    }
}

/// Padding is taken where it stands and not missed where it does not; so are the bits that some encoders leave set.
const fn engine(alphabet: &Alphabet) -> GeneralPurpose {
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    GeneralPurpose::new(alphabet, config)
}

const STANDARD: GeneralPurpose = engine(&alphabet::STANDARD);
const URL_SAFE: GeneralPurpose = engine(&alphabet::URL_SAFE);

/// Decodes base64; line breaks, a data URL's head, and the URL-safe alphabet (if nothing speaks against it) are borne.
fn decode_base64(text: &str) -> Result<Vec<u8>, base64::DecodeError> {
    let error = match STANDARD.decode(text) {
        Ok(bytes) => return Ok(bytes),
        Err(error) => error,
    };
    // `data:image/png;base64,…`
    let head = text.strip_prefix("data:image/").and_then(|rest| rest.split_once(";base64,"));
    let text = head.map_or(text, |(_, data)| data);
    let text: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let url_safe = text.contains(['-', '_']) && !text.contains(['+', '/']);
    let engine = if url_safe { &URL_SAFE } else { &STANDARD };
    engine.decode(text).map_err(|_| error)
}
