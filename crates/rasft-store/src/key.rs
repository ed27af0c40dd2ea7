//! Keys: what a result depends on, and the hash of it.

use crate::error::StoreError;
use rasft_data::{DataError, hash_value};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// Version of the encoding behind every key.
const KEY_FORMAT: u64 = 1;

/// Everything a result depends on. Never times, paths, thread counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyParams {
    /// Stage name.
    pub stage: String,
    /// Raised in the code whenever the stage's output would change.
    pub stage_version: u32,
    /// The parameters that affect the output.
    pub params: Map<String, Value>,
    /// Content hashes of the inputs by role.
    pub inputs: BTreeMap<String, String>,
}

impl KeyParams {
    /// blake3 over the canonical encoding: maps sorted, every field framed by its length, floats by their bits.
    pub fn key(&self) -> Key {
        Key(hash_value(&json!({
            "key_format": KEY_FORMAT,
            "stage": self.stage,
            "stage_version": self.stage_version,
            "params": self.params,
            "inputs": self.inputs,
        })))
    }

    /// Reads a sidecar and checks it against the key it stands under.
    pub(crate) fn read(path: &Path, key: &Key) -> Result<Self, StoreError> {
        let corrupt = |expected: String, actual: String| DataError::Corrupt { file: path.to_owned(), expected, actual };
        let bytes = std::fs::read(path).map_err(rasft_fs::FsError::on("read", path))?;
        let params: Self = serde_json::from_slice(&bytes)
            .map_err(|e| corrupt("the parameters behind a key".to_owned(), e.to_string()))?;
        let actual = params.key();
        if actual != *key {
            return Err(corrupt(format!("parameters of key {key}"), format!("parameters of key {actual}")).into());
        }
        Ok(params)
    }
}

/// The name of an entry: 64 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key(String);

impl Key {
    /// Takes 64 lower-case hex digits.
    ///
    /// # Errors
    /// [`StoreError::BadKey`] for anything else.
    pub fn parse(text: &str) -> Result<Self, StoreError> {
        let hex = text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if hex { Ok(Self(text.to_owned())) } else { Err(StoreError::BadKey { text: text.to_owned() }) }
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> KeyParams {
        let params = json!({"n": 4, "temperature": 0.7, "stop": ["a", "b"]});
        KeyParams {
            stage: "rollout".to_owned(),
            stage_version: 1,
            params: params.as_object().unwrap().clone(),
            inputs: BTreeMap::from([("model".to_owned(), "aa".to_owned()), ("problems".to_owned(), "bb".to_owned())]),
        }
    }

    fn differs(edit: impl FnOnce(&mut KeyParams)) {
        let mut other = base();
        edit(&mut other);
        assert_ne!(base().key(), other.key());
    }

    #[test]
    fn stage_differs() {
        differs(|p| p.stage = "rollouts".to_owned());
    }

    #[test]
    fn stage_version_differs() {
        differs(|p| p.stage_version = 2);
    }

    #[test]
    fn params_differ() {
        differs(|p| p.params["n"] = json!(8));
        differs(|p| p.params["n"] = json!(4.0));
        differs(|p| p.params["n"] = json!("4"));
        differs(|p| p.params["temperature"] = json!(0.7 + f64::EPSILON));
        differs(|p| p.params["stop"] = json!(["b", "a"]));
        differs(|p| p.params["stop"] = json!(["ab"]));
        differs(|p| drop(p.params.insert("seed".to_owned(), Value::Null)));
        differs(|p| drop(p.params.remove("n")));
    }

    #[test]
    fn inputs_differ() {
        differs(|p| drop(p.inputs.insert("model".to_owned(), "ab".to_owned())));
        differs(|p| drop(p.inputs.remove("model")));
        differs(|p| p.inputs = [("model", "bb"), ("problems", "aa")].map(|(a, b)| (a.to_owned(), b.to_owned())).into());
        differs(|p| {
            let hash = p.inputs.remove("model").unwrap();
            p.params.insert("model".to_owned(), hash.into());
        });
    }

    #[test]
    fn order_does_not_count_and_the_encoding_is_pinned() {
        let text = r#"{"inputs":{"problems":"bb","model":"aa"},"params":{"temperature":0.7,"stop":["a","b"],"n":4},"stage_version":1,"stage":"rollout"}"#;
        let read: KeyParams = serde_json::from_str(text).unwrap();
        assert_eq!(read.key(), base().key());
        // A change here throws every store away.
        assert_eq!(base().key().as_str(), "43571a629e72a3905cd03142dbcd5a37be44eb7fc0579c0b53811b699c5d7fc1");
    }

    #[test]
    fn keys_are_hex() {
        assert!(Key::parse(base().key().as_str()).is_ok());
        for bad in ["", "ab", &"g".repeat(64), &"A".repeat(64)] {
            assert!(Key::parse(bad).is_err());
        }
    }
}
