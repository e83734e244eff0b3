//! Whether a live object is what was applied: every field that is wanted is there with its value. Fields that others
//! added, or that the API server filled in, do not matter.

use serde_json::Value;

/// Whether `live` has all of `desired`.
pub fn is_subset(desired: &Value, live: &Value) -> bool {
    subset(desired, live, false)
}

/// `quantities`: the values here are amounts, which the API server writes in its own way (`1000m` becomes `1`).
fn subset(desired: &Value, live: &Value, quantities: bool) -> bool {
    match (desired, live) {
        (Value::Object(desired), Value::Object(live)) => desired.iter().all(|(key, value)| {
            let amounts = quantities || matches!(key.as_str(), "limits" | "requests" | "sizeLimit");
            match live.get(key) {
                Some(live) => subset(value, live, amounts),
                None => is_empty(value),
            }
        }),
        (Value::Array(desired), Value::Array(live)) => list(desired, live),
        (Value::String(desired), Value::String(live)) if quantities => {
            desired == live || amount(desired).is_some_and(|d| amount(live) == Some(d))
        }
        (Value::Number(desired), Value::Number(live)) => desired.as_f64() == live.as_f64(),
        (desired, live) => desired == live,
    }
}

/// What the API server leaves out.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(value) => !value,
        Value::Number(_) => false,
    }
}

/// Lists that server-side apply merges by a key may hold more; all others are one value.
fn list(desired: &[Value], live: &[Value]) -> bool {
    let key = ["name", "mountPath", "containerPort", "port", "uid"]
        .into_iter()
        .find(|key| !desired.is_empty() && desired.iter().all(|item| item.get(key).is_some()));
    match key {
        Some(key) => desired
            .iter()
            .all(|wanted| live.iter().any(|item| item.get(key) == wanted.get(key) && subset(wanted, item, false))),
        None => desired.len() == live.len() && desired.iter().zip(live).all(|(d, l)| subset(d, l, false)),
    }
}

/// A quantity in thousandths, for comparison. Source of the suffixes: apimachinery `resource.Quantity`.
fn amount(text: &str) -> Option<i128> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let unit: i128 = match suffix {
        "m" => 1,
        "" => 1_000,
        "k" => 1_000_000,
        "M" => 1_000_000_000,
        "G" => 1_000_000_000_000,
        "T" => 1_000_000_000_000_000,
        "P" => 1_000_000_000_000_000_000,
        "Ki" => 1_000 << 10,
        "Mi" => 1_000 << 20,
        "Gi" => 1_000 << 30,
        "Ti" => 1_000 << 40,
        "Pi" => 1_000 << 50,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.len() > 9 || (whole.is_empty() && fraction.is_empty()) || whole.len() > 18 {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let part: i128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    Some(whole * unit + part * unit / 10i128.pow(fraction.len() as u32))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_others_add_does_not_matter_and_what_they_change_does() {
        let desired = json!({
            "metadata": {"labels": {"a": "1"}},
            "spec": {"replicas": 1, "args": ["x", "y"], "suspend": false, "note": "", "tolerations": [],
                "containers": [{"name": "worker", "image": "i", "env": [{"name": "A", "value": "1"}]}],
                "resources": {"limits": {"cpu": "1000m", "memory": "1024Mi"}, "requests": {"cpu": "0.5"}}}});
        let live = json!({
            "metadata": {"labels": {"a": "1", "b": "2"}, "uid": "u"},
            "spec": {"replicas": 1, "args": ["x", "y"], "paused": true,
                "containers": [{"name": "sidecar"}, {"name": "worker", "image": "i", "imagePullPolicy": "Always",
                    "env": [{"name": "B", "value": "2"}, {"name": "A", "value": "1"}]}],
                "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}}});
        assert!(is_subset(&desired, &live));
        for (pointer, value) in [
            ("/metadata/labels/a", json!("2")),
            ("/spec/replicas", json!(2)),
            ("/spec/args", json!(["x"])),
            ("/spec/args", json!(["y", "x"])),
            ("/spec/args", json!(["x", "y", "z"])),
            ("/spec/containers/1/image", json!("j")),
            ("/spec/containers/1/env/1/value", json!("")),
            ("/spec/containers", json!([])),
            ("/spec/resources/limits/cpu", json!("1001m")),
            ("/spec/resources/limits", json!({"cpu": "1"})),
        ] {
            let mut edited = live.clone();
            *edited.pointer_mut(pointer).expect("there") = value.clone();
            assert!(!is_subset(&desired, &edited), "{pointer} = {value}");
        }
    }

    #[test]
    fn amounts_are_compared_by_what_they_mean() {
        for (a, b, same) in
            [("1", "1000m", true), ("1.5Gi", "1536Mi", true), ("100M", "100Mi", false), ("1e3", "1000", false)]
        {
            let quantity = |text: &str| json!({"limits": {"x": text}});
            assert_eq!(is_subset(&quantity(a), &quantity(b)), same, "{a} {b}");
        }
        assert!(!is_subset(&json!({"data": {"x": "1"}}), &json!({"data": {"x": "1000m"}})), "only where amounts stand");
    }
}
