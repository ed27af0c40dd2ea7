//! One record's fields, used one after the other; what nobody used becomes `meta`.

use crate::canonical;
use serde_json::{Map, Value};

/// Why a record is not a problem of the chosen format; the file and line are added by the importer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The field, dotted when nested; empty when the record as a whole is meant.
    pub field: String,
    /// What the format asks for.
    pub expected: String,
    /// What is there.
    pub found: String,
    /// How to mend it.
    pub hint: String,
}

impl Fault {
    /// Builds the fault.
    pub fn new(field: &str, expected: &str, found: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { field: field.into(), expected: expected.into(), found: found.into(), hint: hint.into() }
    }
}

/// The fields of one record, and which of them have been used.
#[derive(Debug, Clone)]
pub struct Fields {
    record: Map<String, Value>,
    used: Vec<String>,
    kept: Vec<(String, Value)>,
}

impl Fields {
    /// Wraps a record.
    pub fn new(record: Map<String, Value>) -> Self {
        Self { record, used: Vec::new(), kept: Vec::new() }
    }

    /// The names of all fields of the record, sorted, for messages.
    pub fn names(&self) -> String {
        let mut names: Vec<&str> = self.record.keys().map(String::as_str).collect();
        names.sort_unstable();
        if names.is_empty() { "no field at all".into() } else { format!("the fields {}", names.join(", ")) }
    }

    /// The value at a path: a field of that very name, or nested fields joined by dots.
    pub fn peek(&self, path: &str) -> Option<&Value> {
        peek(&self.record, path)
    }

    /// The value at a path, which is used from now on. `null` is used too, and counts as absent.
    pub fn take(&mut self, path: &str) -> Option<Value> {
        let value = self.peek(path)?.clone();
        self.used.push(path.to_owned());
        Some(value).filter(|value| !value.is_null())
    }

    /// Takes a text. Absent and `null` are none.
    ///
    /// # Errors
    /// Another type.
    pub fn text(&mut self, path: &str) -> Result<Option<String>, Fault> {
        match self.take(path) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => {
                Err(Fault::new(path, "a string", shown(&other), "quote the value, or map another field with --map"))
            }
        }
    }

    /// Takes a text that must be there and hold something but white space.
    ///
    /// # Errors
    /// Absent, blank, or another type.
    pub fn required_text(&mut self, path: &str) -> Result<String, Fault> {
        match self.text(path)? {
            None => Err(self.missing(path, "a string")),
            Some(text) if text.trim().is_empty() => {
                Err(Fault::new(path, "a text", "a blank string", "fill the field in, or leave the record out"))
            }
            Some(text) => Ok(text),
        }
    }

    /// Takes an answer: a text, a number (27.0 is written `27`), a truth value, or a list of them, joined by `, `.
    /// Absent, `null`, blank and the empty list are none.
    ///
    /// # Errors
    /// An object, or a list of other things.
    pub fn answer(&mut self, path: &str) -> Result<Option<String>, Fault> {
        let Some(value) = self.take(path) else { return Ok(None) };
        let text = match &value {
            Value::Array(items) => items.iter().map(scalar).collect::<Option<Vec<_>>>().map(|parts| parts.join(", ")),
            other => scalar(other),
        };
        match text {
            Some(text) => Ok(Some(text).filter(|t| !t.is_empty())),
            None => Err(Fault::new(
                path,
                "a string, a number, or a list of them",
                shown(&value),
                "name the field that holds the answer itself; nested fields are written with dots",
            )),
        }
    }

    /// Takes a list of texts; a single text is a list of one, absent is an empty list.
    ///
    /// # Errors
    /// Another type, or an element of another type.
    pub fn texts(&mut self, path: &str) -> Result<Vec<String>, Fault> {
        let fault = |found: &Value| Fault::new(path, "a list of strings", shown(found), "make every element a string");
        match self.take(path) {
            None => Ok(Vec::new()),
            Some(Value::String(text)) => Ok(vec![text]),
            Some(Value::Array(items)) => {
                items.iter().map(|v| v.as_str().map(str::to_owned).ok_or_else(|| fault(v))).collect()
            }
            Some(other) => Err(fault(&other)),
        }
    }

    /// Adds a value to `meta`.
    pub fn keep(&mut self, name: &str, value: Value) {
        self.kept.push((name.to_owned(), value));
    }

    /// Says that a field is missing.
    pub fn missing(&self, path: &str, expected: &str) -> Fault {
        Fault::new(
            path,
            expected,
            self.names(),
            "check that the format fits the file; other names need `jsonl` with --map",
        )
    }

    /// Canonical JSON of what was not used, and of what was kept by name.
    pub fn into_meta(self) -> String {
        let mut rest = self.record;
        for path in &self.used {
            remove(&mut rest, path);
        }
        rest.extend(self.kept);
        canonical::object(&rest)
    }
}

fn peek<'a>(map: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(value) = map.get(path) {
        return Some(value);
    }
    let (head, tail) = path.split_once('.')?;
    peek(map.get(head)?.as_object()?, tail)
}

/// Removes the value at a path, and the objects that it leaves empty.
fn remove(map: &mut Map<String, Value>, path: &str) {
    if map.remove(path).is_some() {
        return;
    }
    let Some((head, tail)) = path.split_once('.') else { return };
    if let Some(Value::Object(inner)) = map.get_mut(head) {
        remove(inner, tail);
        if inner.is_empty() {
            map.remove(head);
        }
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Number(number) => Some(plain_number(number)),
        _ => None,
    }
}

/// A number as people write it: no exponent, no fraction of zeros.
fn plain_number(number: &serde_json::Number) -> String {
    match (number.as_i64(), number.as_u64(), number.as_f64()) {
        (Some(i), _, _) => i.to_string(),
        (_, Some(u), _) => u.to_string(),
        (_, _, Some(0.0)) => "0".into(),
        // Rust writes the shortest digits that read back as the same number, and never an exponent.
        (_, _, Some(f)) if f.is_finite() => f.to_string(),
        _ => number.to_string(),
    }
}

/// What kind of JSON value this is, for messages.
pub fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn shown(value: &Value) -> String {
    const SHOWN_CHARS: usize = 60;
    let text = canonical::value(value);
    let head: String = text.chars().take(SHOWN_CHARS).collect();
    let dots = if head.len() < text.len() { "…" } else { "" };
    format!("{} {head}{dots}", kind_of(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fields(value: Value) -> Fields {
        Fields::new(value.as_object().unwrap().clone())
    }

    #[test]
    fn answers_are_written_plainly() {
        let cases = [
            (json!(27.0), Some("27")),
            (json!(-1.0), Some("-1")),
            (json!(-0.0), Some("0")),
            (json!(3.33333), Some("3.33333")),
            (json!(1e21), Some("1000000000000000000000")),
            (json!(18446744073709551615u64), Some("18446744073709551615")),
            (json!(" 025 "), Some("025")),
            (json!(["$1$", 2.0]), Some("$1$, 2")),
            (json!([]), None),
            (json!(null), None),
            (json!("  "), None),
        ];
        for (value, expected) in cases {
            assert_eq!(fields(json!({"a": value})).answer("a").unwrap().as_deref(), expected);
        }
        let fault = fields(json!({"a": {"b": 1}})).answer("a").unwrap_err();
        assert_eq!(fault.found, "an object {\"b\":1}");
    }

    #[test]
    fn nested_fields_are_taken_and_the_rest_is_meta() {
        let mut f = fields(json!({"z": 1, "a": {"b": {"c": "x"}, "d": 2}, "e.f": "dotted", "g": {"h": "y"}}));
        assert_eq!(f.text("a.b.c").unwrap().as_deref(), Some("x"));
        assert_eq!(f.text("e.f").unwrap().as_deref(), Some("dotted"));
        assert_eq!(f.text("g.h").unwrap().as_deref(), Some("y"));
        assert_eq!(f.text("a.nope").unwrap(), None);
        assert_eq!(f.into_meta(), r#"{"a":{"d":2},"z":1}"#);
    }
}
