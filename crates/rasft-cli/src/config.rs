//! Configuration layers: defaults < `[common]` and `[stage]` of the experiment file < `[stage.SECTION]` < flags.
//!
//! Invariant: an unknown key is an error that names the nearest known one. Keys are flag names, with `_` or `-`.

use crate::Failure;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// A parsed experiment file.
#[derive(Debug, Clone)]
pub struct ConfigFile {
    path: PathBuf,
    root: Map<String, Value>,
}

impl ConfigFile {
    /// Reads an experiment file.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| Failure::usage(format!("{}: cannot read the configuration: {e}", path.display())))?;
        let table: toml::Table = text.parse().map_err(|e: toml::de::Error| {
            Failure::usage(format!("{}: not valid TOML: {}", path.display(), e.to_string().trim_end()))
        })?;
        if let Some((key, value)) = not_finite(&table, "") {
            let path = path.display();
            return Err(Failure::usage(format!("{path}: key {key} = {value}: expected a finite number")));
        }
        let root = match serde_json::to_value(table) {
            Ok(Value::Object(map)) => map,
            _ => return Err(Failure::usage(format!("{}: not a TOML table", path.display()))),
        };
        Ok(Self { path: path.to_owned(), root })
    }

    /// The value at a dotted path such as `pipeline.rounds`.
    pub fn get(&self, dotted: &str) -> Option<&Value> {
        let mut parts = dotted.split('.');
        let mut value = self.root.get(parts.next()?)?;
        for part in parts {
            value = value.as_object()?.get(part)?;
        }
        Some(value)
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Refuses top-level tables that no stage and no pipeline reads.
    pub fn check_tables(&self, known: &[&str]) -> Result<(), Failure> {
        match self.root.keys().find(|k| !known.contains(&k.as_str())) {
            Some(key) => Err(Failure::usage(format!(
                "{}: unknown table [{key}]{}",
                self.path.display(),
                did_you_mean(key, known)
            ))),
            None => Ok(()),
        }
    }

    /// Keys of `[table]`, then of `[table.section]` over them, normalised to `_`.
    ///
    /// `known` are the keys that any command of this binary understands.
    pub fn table(&self, table: &str, section: Option<&str>, known: &[String]) -> Result<Map<String, Value>, Failure> {
        let mut merged = Map::new();
        let Some(base) = self.root.get(table) else {
            return match section {
                Some(s) => {
                    Err(Failure::usage(format!("{}: no table [{table}.{s}] for --section {s}", self.path.display())))
                }
                None => Ok(merged),
            };
        };
        let base = self.as_table(base, table)?;
        self.merge(&mut merged, base, table, known)?;
        if let Some(name) = section {
            let full = format!("{table}.{name}");
            let over = base.get(name).ok_or_else(|| {
                Failure::usage(format!("{}: no table [{full}] for --section {name}", self.path.display()))
            })?;
            self.merge(&mut merged, self.as_table(over, &full)?, &full, known)?;
        }
        Ok(merged)
    }

    /// Names of the sections `[table.NAME]`.
    pub fn sections(&self, table: &str) -> Vec<String> {
        let entries = self.root.get(table).and_then(Value::as_object).into_iter().flatten();
        entries.filter(|(_, value)| value.is_object()).map(|(name, _)| name.clone()).collect()
    }

    fn as_table<'a>(&self, value: &'a Value, name: &str) -> Result<&'a Map<String, Value>, Failure> {
        value.as_object().ok_or_else(|| Failure::usage(format!("{}: [{name}] is not a table", self.path.display())))
    }

    fn merge(
        &self,
        into: &mut Map<String, Value>,
        from: &Map<String, Value>,
        name: &str,
        known: &[String],
    ) -> Result<(), Failure> {
        for (key, value) in from {
            if value.is_object() {
                continue; // a section
            }
            let normal = key.replace('-', "_");
            if !known.contains(&normal) {
                let words: Vec<&str> = known.iter().map(String::as_str).collect();
                return Err(Failure::usage(format!(
                    "{}: unknown key {key:?} in [{name}]{}",
                    self.path.display(),
                    did_you_mean(&normal, &words)
                )));
            }
            into.insert(normal, value.clone());
        }
        Ok(())
    }
}

/// Lays flags over configured values and reads the result back as the same struct.
///
/// A flag that was not given serialises as null or as an empty list and leaves the configured value alone.
pub fn overlay<A: Serialize + DeserializeOwned>(
    flags: &A,
    configured: Map<String, Value>,
    origin: &str,
) -> Result<A, Failure> {
    let given = match serde_json::to_value(flags) {
        Ok(Value::Object(map)) => map,
        Ok(_) | Err(_) => return Err(Failure::usage(format!("{origin}: flags cannot be layered"))),
    };
    let mut merged: Map<String, Value> = configured.into_iter().filter(|(k, _)| given.contains_key(k)).collect();
    for (key, value) in given {
        let absent = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
        if !absent || !merged.contains_key(&key) {
            merged.insert(key, value);
        }
    }
    serde_path(merged, origin)
}

fn serde_path<A: DeserializeOwned>(merged: Map<String, Value>, origin: &str) -> Result<A, Failure> {
    // Deserialising key by key first would lose clap's defaults, so on failure find the key that is to blame.
    match serde_json::from_value::<A>(Value::Object(merged.clone())) {
        Ok(args) => Ok(args),
        Err(error) => {
            let blamed = merged.iter().find(|(key, _)| {
                let mut one = merged.clone();
                one.insert((*key).clone(), Value::Null);
                serde_json::from_value::<A>(Value::Object(one)).is_ok()
            });
            let place = blamed.map_or(String::new(), |(key, value)| format!(" key {key:?} = {value}:"));
            Err(Failure::usage(format!("{origin}:{place} {error}")))
        }
    }
}

/// Lets a flag of a float take finite numbers only: layers have no word for the others, so they would count as not given.
pub fn only_finite(arg: clap::Arg) -> clap::Arg {
    let float: clap::builder::ValueParser = clap::value_parser!(f64).into();
    if arg.get_value_parser().type_id() != float.type_id() {
        return arg;
    }
    arg.value_parser(|text: &str| match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ => Err("expected a finite number"),
    })
}

/// The first float that is no finite number, with its dotted key.
fn not_finite(table: &toml::Table, prefix: &str) -> Option<(String, f64)> {
    table.iter().find_map(|(key, value)| {
        let name = format!("{prefix}{key}");
        match value {
            toml::Value::Float(f) if !f.is_finite() => Some((name, *f)),
            toml::Value::Table(inner) => not_finite(inner, &format!("{name}.")),
            _ => None,
        }
    })
}

/// `, did you mean "x"?` when some known word is near.
pub fn did_you_mean(word: &str, known: &[&str]) -> String {
    let best = known.iter().map(|k| (strsim::damerau_levenshtein(word, k), *k)).min();
    match best {
        Some((distance, near)) if distance <= 1 + near.len() / 3 => format!("\nhint: did you mean {near:?}?"),
        _ => format!("\nhint: known are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Serialize, Deserialize, Default, Debug, PartialEq)]
    #[serde(default, deny_unknown_fields)]
    struct Demo {
        temperature: Option<f64>,
        stop: Vec<String>,
        n: Option<u32>,
    }

    fn file(text: &str) -> ConfigFile {
        let dir = tempfile::tempdir().expect("temporary folder");
        let path = dir.path().join("x.toml");
        std::fs::write(&path, text).expect("write");
        ConfigFile::read(&path).expect("valid")
    }

    fn known() -> Vec<String> {
        ["temperature", "stop", "n"].map(String::from).to_vec()
    }

    #[test]
    fn flags_beat_section_beats_table() {
        let config = file("[rollout]\ntemperature = 0.5\nn = 3\n[rollout.quick]\nn = 2\nstop = ['a']\n");
        let table = config.table("rollout", Some("quick"), &known()).expect("known keys");
        let flags = Demo { temperature: Some(0.9), ..Demo::default() };
        let merged = overlay(&flags, table, "x.toml").expect("layers");
        assert_eq!(merged, Demo { temperature: Some(0.9), stop: vec!["a".into()], n: Some(2) });
    }

    #[test]
    fn unknown_key_names_the_nearest() {
        let error = file("[rollout]\ntemprature = 1\n").table("rollout", None, &known()).expect_err("unknown");
        assert!(error.message.contains("did you mean \"temperature\"?"), "{error}");
    }

    #[test]
    fn wrong_type_names_the_key() {
        let table = file("[rollout]\nn = 'three'\n").table("rollout", None, &known()).expect("known keys");
        let error = overlay(&Demo::default(), table, "x.toml").expect_err("wrong type");
        assert!(error.message.contains("\"n\" = \"three\""), "{error}");
    }
}
