//! Truth values of golden files.

use serde_json::Value;

pub fn bool(value: &Value) -> bool {
    value.as_bool().unwrap_or_else(|| panic!("expected a truth value, found {value}"))
}
