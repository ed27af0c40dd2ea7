//! Why a look-up missed: the nearest entry of the same stage and the fields in which it differs.

use crate::error::StoreError;
use crate::key::{Key, KeyParams};
use crate::store::Store;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::SystemTime;

/// One field that two keys do not share.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Difference {
    /// `stage_version`, `params.temperature`, `inputs.model`, …
    pub field: String,
    /// Its value then; none when it was absent.
    pub before: Option<Value>,
    /// Its value now; none when it is absent.
    pub now: Option<Value>,
}

/// An earlier entry and how it differs.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Nearest {
    /// Its key.
    pub key: Key,
    /// Fewest first among all entries; never empty.
    pub differences: Vec<Difference>,
}

/// What is to be said of a look-up.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Explanation {
    /// The key looked up.
    pub key: Key,
    /// It is there.
    pub hit: bool,
    /// Entries of the place.
    pub n_entries: usize,
    /// The entry that differs least, the latest of several; none on a hit or when there are no entries.
    pub nearest: Option<Nearest>,
}

impl Store {
    /// Says whether `params` has an entry and, if not, which fields of the nearest one differ.
    ///
    /// # Errors
    /// When the store cannot be listed. Entries with damaged sidecars are passed over; `verify` reports them.
    pub fn explain(&self, place: &str, params: &KeyParams) -> Result<Explanation, StoreError> {
        let key = params.key();
        let hit = self.entry_path(place, &key)?.is_dir();
        let keys = self.keys(place)?;
        let mut best: Option<((usize, std::cmp::Reverse<SystemTime>), Nearest)> = None;
        for other in keys.iter().filter(|_| !hit) {
            let path = self.entry_path(place, other)?;
            let Ok(before) = KeyParams::read(&path.join(crate::KEY_FILE), other) else { continue };
            let made = std::fs::metadata(&path).and_then(|m| m.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
            let differences = differences(&before, params);
            let rank = (differences.len(), std::cmp::Reverse(made));
            if best.as_ref().is_none_or(|(found, _)| rank < *found) {
                best = Some((rank, Nearest { key: other.clone(), differences }));
            }
        }
        Ok(Explanation { key, hit, n_entries: keys.len(), nearest: best.map(|(_, nearest)| nearest) })
    }
}

fn differences(before: &KeyParams, now: &KeyParams) -> Vec<Difference> {
    let (before, now) = (fields(before), fields(now));
    let names: std::collections::BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let differ = |name: &&&String| before.get(**name) != now.get(**name);
    let difference = |name: &String| Difference {
        field: name.clone(),
        before: before.get(name).cloned(),
        now: now.get(name).cloned(),
    };
    names.iter().filter(differ).map(|name| difference(name)).collect()
}

/// Every leaf under a dotted name.
fn fields(params: &KeyParams) -> BTreeMap<String, Value> {
    let mut fields = BTreeMap::new();
    fields.insert("stage".to_owned(), Value::from(params.stage.as_str()));
    fields.insert("stage_version".to_owned(), Value::from(params.stage_version));
    for (name, value) in &params.params {
        flatten(format!("params.{name}"), value, &mut fields);
    }
    for (name, hash) in &params.inputs {
        fields.insert(format!("inputs.{name}"), Value::from(hash.as_str()));
    }
    fields
}

fn flatten(name: String, value: &Value, fields: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                flatten(format!("{name}.{key}"), value, fields);
            }
        }
        leaf => drop(fields.insert(name, leaf.clone())),
    }
}
