//! What a stage is about to compute: the fields of its key, and where its inputs were.

use crate::policy::Policy;
use crate::{Ctx, Error};
use rasft_data::{DataSet, InputRef};
use rasft_store::KeyParams;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// Key fields and input paths of one stage run.
pub struct Job {
    /// The key's fields.
    pub key: KeyParams,
    paths: BTreeMap<String, String>,
}

impl Job {
    /// A job of `stage` with every parameter that shapes its output.
    pub fn new(stage: &str, version: u32, params: &impl Serialize) -> Result<Self, Error> {
        let Value::Object(params) = serde_json::to_value(params)
            .map_err(|e| Error::runtime(format!("{stage}: cannot write its parameters: {e}")))?
        else {
            return Err(Error::runtime(format!("{stage}: its parameters are not named")));
        };
        Ok(Self::of(KeyParams { stage: stage.to_owned(), stage_version: version, params, inputs: BTreeMap::new() }))
    }

    /// A job with this key so far.
    pub fn of(key: KeyParams) -> Self {
        Self { key, paths: BTreeMap::new() }
    }

    /// Names an input by content; its path is for people only.
    pub fn input(&mut self, name: &str, hash: &str, path: &Path) {
        self.key.inputs.insert(name.to_owned(), hash.to_owned());
        self.paths.insert(name.to_owned(), path.display().to_string());
    }

    /// Opens a data set and names it as an input.
    pub fn data(&mut self, ctx: &Ctx, name: &str, path: &Path) -> Result<DataSet, Error> {
        let data = DataSet::open(path)?;
        let hash = data.content_hash_with(&mut |file| ctx.store.file_hash(file).map_err(Error::from))?;
        self.input(name, &hash, path);
        Ok(data)
    }

    /// [`Job::data`] for an input that may be absent.
    pub fn optional_data(&mut self, ctx: &Ctx, name: &str, path: Option<&Path>) -> Result<Option<DataSet>, Error> {
        path.map(|p| self.data(ctx, name, p)).transpose()
    }

    /// Opens a model and names it as an input.
    pub fn policy(&mut self, ctx: &Ctx, name: &str, path: &Path) -> Result<Policy, Error> {
        let policy = Policy::open(path, ctx)?;
        self.input(name, policy.input_hash(), path);
        Ok(policy)
    }

    /// Names the judge, for a result that its verdicts shape.
    pub fn judged(&mut self) {
        self.key.params.insert("judge_version".into(), rasft_verify::VERSION.into());
    }

    /// Names the kind of device, for a result whose last bits it shapes. The CPU needs no name.
    pub fn device(&mut self, device: Option<&str>) {
        if let Some(kind) = device_kind(device) {
            self.key.params.insert("device".into(), kind.into());
        }
    }

    /// Output shards of a stage that needs all rows at once: as many as the user asks for.
    pub fn output_shards(&mut self, ctx: &Ctx) -> usize {
        if let Some(n) = ctx.shards {
            self.key.params.insert("shards".into(), n.into());
        }
        ctx.shards.unwrap_or(1)
    }

    /// The manifest's list of inputs.
    pub fn input_refs(&self) -> BTreeMap<String, InputRef> {
        let reference = |(name, hash): (&String, &String)| {
            (name.clone(), InputRef { hash: hash.clone(), path: self.paths.get(name).cloned() })
        };
        self.key.inputs.iter().map(reference).collect()
    }
}

/// The kind of a device such as `cuda:1`, unless it is the CPU: one GPU computes as another of its kind does.
pub fn device_kind(device: Option<&str>) -> Option<&str> {
    device.and_then(|name| name.split(':').next()).filter(|kind| *kind != "cpu")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_other_devices_enter_a_key() {
        let key = |device| {
            let mut job = Job::new("s", 1, &serde_json::json!({})).unwrap();
            job.device(device);
            job.key.key()
        };
        assert_eq!(key(None), key(Some("cpu")));
        assert_eq!(key(Some("cuda")), key(Some("cuda:1")));
        assert_ne!(key(None), key(Some("cuda")));
        assert_ne!(key(Some("metal")), key(Some("cuda")));
    }
}
