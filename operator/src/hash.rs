//! One way to hash: what is compared with itself later, here or in another operator.

use ring::hmac;
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_128;

/// 32 hexadecimal digits for some bytes.
pub fn hash(bytes: &[u8]) -> String {
    format!("{:032x}", xxh3_128(bytes))
}

/// A fingerprint of what nobody may learn: by it a change is noticed, and without the key no guess can be tried. 32 hexadecimal
/// digits of HMAC-SHA-256.
pub fn keyed(key: &str, bytes: &[u8]) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), bytes);
    tag.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// 32 hexadecimal digits for a value as JSON. Objects are compared field by field, so that their order does not matter.
pub fn hash_of(value: &impl Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    let mut text = String::new();
    canonical(&value, &mut text);
    hash(text.as_bytes())
}

/// JSON with sorted keys.
fn canonical(value: &serde_json::Value, out: &mut String) {
    match value {
        serde_json::Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            out.push('{');
            for key in keys {
                out.push_str(&serde_json::Value::from(key.as_str()).to_string());
                out.push(':');
                canonical(&map[key], out);
                out.push(',');
            }
            out.push('}');
        }
        serde_json::Value::Array(items) => {
            out.push('[');
            for item in items {
                canonical(item, out);
                out.push(',');
            }
            out.push(']');
        }
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_) => out.push_str(&value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_fingerprint_is_known_again_by_its_key_alone() {
        assert_eq!(keyed("one", b"password"), keyed("one", b"password"));
        assert_ne!(keyed("one", b"password"), keyed("other", b"password"));
        assert_ne!(keyed("one", b"password"), keyed("one", b"passwort"));
        // RFC 4231, test case 2.
        assert_eq!(keyed("Jefe", b"what do ya want for nothing?"), "5bdcc146bf60754e6a042426089575c7");
    }

    #[test]
    fn the_order_of_fields_does_not_matter_and_everything_else_does() {
        let base = hash_of(&json!({"a": 1, "b": [1, 2], "c": {"d": "x"}}));
        assert_eq!(base, hash_of(&json!({"c": {"d": "x"}, "b": [1, 2], "a": 1})));
        for other in [
            json!({"a": 1, "b": [2, 1], "c": {"d": "x"}}),
            json!({"a": "1", "b": [1, 2], "c": {"d": "x"}}),
            json!({"a": 1, "b": [1, 2], "c": {"d": ""}}),
        ] {
            assert_ne!(base, hash_of(&other));
        }
    }
}
