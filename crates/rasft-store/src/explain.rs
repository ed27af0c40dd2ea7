//! Why a look-up missed: the nearest entry of the same stage and the fields in which it differs.

use crate::error::StoreError;
use crate::key::{Key, KeyParams};
use crate::store::Store;
use serde_json::Value;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::Path;
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
    /// In alphabetical order; empty only for an entry compared with itself.
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

/// What an entry has that others have not.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Explained {
    /// Its place.
    pub place: String,
    /// Its key.
    pub key: Key,
    /// The entry it was compared with; none for the first of its place.
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
        let n_entries = self.keys(place)?.len();
        let nearest = if hit { None } else { self.nearest(place, params, None)? };
        Ok(Explanation { key, hit, n_entries, nearest })
    }

    /// Why an entry had to be made: the fields in which it differs from the nearest that was there before, or from `other`.
    ///
    /// # Errors
    /// When `what` or `other` names no entry or a damaged one, or the store cannot be listed.
    pub fn explain_entry(&self, what: &str, other: Option<&str>) -> Result<Explained, StoreError> {
        let (place, key) = self.find(what)?;
        let params = |place: &str, key: &Key| KeyParams::read(&self.entry_path(place, key)?.join(crate::KEY_FILE), key);
        let now = params(&place, &key)?;
        let nearest = match other {
            Some(other) => {
                let (place, key) = self.find(other)?;
                let differences = differences(&params(&place, &key)?, &now);
                Some(Nearest { key, differences })
            }
            None => self.nearest(&place, &now, Some(made(&self.entry_path(&place, &key)?)))?,
        };
        Ok(Explained { place, key, nearest })
    }

    /// The entry that differs least from `params` among those made no later than `until`.
    fn nearest(
        &self,
        place: &str,
        params: &KeyParams,
        until: Option<SystemTime>,
    ) -> Result<Option<Nearest>, StoreError> {
        let own = params.key();
        let mut best: Option<((usize, Reverse<SystemTime>), Nearest)> = None;
        for other in self.keys(place)?.iter().filter(|key| **key != own) {
            let path = self.entry_path(place, other)?;
            let Ok(before) = KeyParams::read(&path.join(crate::KEY_FILE), other) else { continue };
            let made = made(&path);
            if until.is_some_and(|until| made > until) {
                continue;
            }
            let differences = differences(&before, params);
            let rank = (differences.len(), Reverse(made));
            if best.as_ref().is_none_or(|(found, _)| rank < *found) {
                best = Some((rank, Nearest { key: other.clone(), differences }));
            }
        }
        Ok(best.map(|(_, nearest)| nearest))
    }
}

/// When an entry appeared.
fn made(path: &Path) -> SystemTime {
    std::fs::metadata(path).and_then(|m| m.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
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
