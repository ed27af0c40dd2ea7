//! JSON with one spelling per value: keys sorted, no spaces. Written here by hand so that no feature of the JSON library
//! (such as insertion-ordered maps) can change the bytes of a table.

use serde_json::{Map, Value};

/// The canonical text of an object.
pub fn object(map: &Map<String, Value>) -> String {
    let mut out = String::new();
    write_object(map, &mut out);
    out
}

/// The canonical text of any value.
pub fn value(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out);
    out
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        Value::Object(map) => write_object(map, out),
        // Scalars have one spelling already: shortest round-trip numbers, minimal string escapes.
        scalar => out.push_str(&scalar.to_string()),
    }
}

fn write_object(map: &Map<String, Value>, out: &mut String) {
    let mut keys: Vec<&String> = map.keys().collect();
    keys.sort_unstable();
    out.push('{');
    for (i, key) in keys.into_iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        out.push_str(&Value::from(key.as_str()).to_string());
        out.push(':');
        write(&map[key], out);
    }
    out.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_keys_and_spaces_do_not_matter() {
        let cases = [
            (
                r#"{ "b": 1, "a": {"z": [1, 2.5, null], "y": "é\n"} }"#,
                "{\"a\":{\"y\":\"é\\n\",\"z\":[1,2.5,null]},\"b\":1}",
            ),
            ("{}", "{}"),
            (r#"{"a":27.0,"b":-0.1,"c":true}"#, r#"{"a":27.0,"b":-0.1,"c":true}"#),
        ];
        for (text, expected) in cases {
            let parsed: Value = serde_json::from_str(text).unwrap();
            assert_eq!(value(&parsed), expected);
        }
    }
}
