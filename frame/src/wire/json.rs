//! `{"frame": <base64 JPEG>, "timestamp": …}` from any producer. The text of a frame is decoded where it stands; only
//! escapes and line breaks cost a copy.

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

use super::{Invalid, time};
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

/// The JPEG, not yet inspected, and the time if it names an instant.
pub(super) fn read(value: &[u8]) -> Result<(Bytes, Option<Timestamp>), Invalid> {
    let bad = |detail: &dyn fmt::Display| Invalid::new(InvalidReason::bad_json, format!("bad JSON: {detail}"));
    let text = object(value).ok_or_else(|| bad(&"it is not a JSON object"))?;
    let fields: Fields<'_> = serde_json::from_slice(text).map_err(|e| bad(&e))?;
    let Some(Field::Text(base64)) = fields.frame else {
        return Err(Invalid::new(InvalidReason::no_frame_field, "the JSON has no text `frame`"));
    };
    let jpeg = decode_base64(&base64)
        .map_err(|e| Invalid::new(InvalidReason::bad_base64, format!("the JSON field `frame` is not base64: {e}")))?;
    Ok((jpeg.into(), fields.timestamp.and_then(|t| t.instant())))
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default)]
    frame: Option<Field<'a>>,
    #[serde(borrow, default)]
    timestamp: Option<Field<'a>>,
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
    let text = text.strip_prefix("data:image/jpeg;base64,").unwrap_or(text);
    let text: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let url_safe = text.contains(['-', '_']) && !text.contains(['+', '/']);
    let engine = if url_safe { &URL_SAFE } else { &STANDARD };
    engine.decode(text).map_err(|_| error)
}
