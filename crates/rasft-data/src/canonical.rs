//! One byte string for one JSON value: maps sorted, fields framed by length, floats by their bits.

use crate::hash::frame;
use serde_json::Value;

/// blake3 over the canonical encoding of `value`, 64 hex digits. Neither map order nor the spelling of a number
/// counts; `1` and `1.0` differ, as do `0.0` and `-0.0`.
pub fn hash_value(value: &Value) -> String {
    let mut hasher = blake3::Hasher::new();
    feed(&mut hasher, value);
    hasher.finalize().to_hex().to_string()
}

/// The same value with every map in key order, whichever map type `serde_json` was built with.
pub fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| key.as_str());
            Value::Object(entries.into_iter().map(|(k, v)| (k.clone(), sorted(v))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

fn feed(hasher: &mut blake3::Hasher, value: &Value) {
    match value {
        Value::Null => frame(hasher, b"null"),
        Value::Bool(b) => frame(hasher, if *b { b"true" } else { b"false" }),
        Value::Number(n) => match n.as_f64().filter(|_| n.is_f64()) {
            Some(x) => {
                frame(hasher, b"float");
                frame(hasher, &x.to_bits().to_le_bytes());
            }
            None => {
                frame(hasher, b"int");
                frame(hasher, n.to_string().as_bytes());
            }
        },
        Value::String(s) => {
            frame(hasher, b"string");
            frame(hasher, s.as_bytes());
        }
        Value::Array(items) => {
            frame(hasher, b"list");
            frame(hasher, &(items.len() as u64).to_le_bytes());
            items.iter().for_each(|item| feed(hasher, item));
        }
        Value::Object(map) => {
            frame(hasher, b"map");
            frame(hasher, &(map.len() as u64).to_le_bytes());
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| key.as_str());
            for (key, value) in entries {
                frame(hasher, key.as_bytes());
                feed(hasher, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn map_order_does_not_count() {
        let a: Value = serde_json::from_str(r#"{"a":1,"b":{"c":2,"d":3}}"#).unwrap();
        let b: Value = serde_json::from_str(r#"{"b":{"d":3,"c":2},"a":1}"#).unwrap();
        assert_eq!(hash_value(&a), hash_value(&b));
        assert_eq!(sorted(&a).to_string(), sorted(&b).to_string());
    }

    #[test]
    fn every_difference_counts() {
        let values = [
            json!(null),
            json!("null"),
            json!(true),
            json!("true"),
            json!(1),
            json!(1.0),
            json!("1"),
            json!(0.0),
            json!(-0.0),
            json!(0.1 + 0.2),
            json!(0.3),
            json!([]),
            json!({}),
            json!([1, 2]),
            json!([[1], 2]),
            json!([1, [2]]),
            json!({"a": 1}),
            json!({"a": [1]}),
            json!({"b": 1}),
            json!(["ab", "c"]),
            json!(["a", "bc"]),
        ];
        let hashes: std::collections::BTreeSet<_> = values.iter().map(hash_value).collect();
        assert_eq!(hashes.len(), values.len());
    }
}
