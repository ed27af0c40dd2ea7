//! Tests of the store as a whole, on data sets made by a few lines of "stages".

mod collecting;
mod damage;
mod entries;
mod looking;
mod views;

use crate::*;
use rasft_data::{
    Class, DataSet, FileInfo, InputRef, MANIFEST_FILE, Manifest, ShardWriter, Table, hash_file, part_name,
};
use rasft_types::{CodeSpec, DifficultyRow, Domain, Problem, Route, RouteAction};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().join("store")).unwrap();
    (dir, store)
}

fn params(stage: &str, seed: u64, inputs: &[(&str, &Entry)]) -> KeyParams {
    KeyParams {
        stage: stage.to_owned(),
        stage_version: 1,
        params: json!({ "seed": seed, "sampling": { "temperature": 0.7 } }).as_object().unwrap().clone(),
        inputs: inputs.iter().map(|(role, e)| ((*role).to_owned(), e.content_hash().unwrap())).collect(),
    }
}

fn problem(i: u64) -> Problem {
    Problem {
        problem_id: format!("{i:032x}"),
        domain: Domain::Code,
        source: "test".to_owned(),
        prompt: format!("prompt {i}"),
        expert_response: None,
        answer: None,
        code: Some(CodeSpec::default()),
        meta: "{}".to_owned(),
    }
}

fn difficulty(i: u64) -> DifficultyRow {
    DifficultyRow {
        problem_id: format!("{i:032x}"),
        expert_tokens: 1,
        expert_nll: i as f32,
        route: Route::Mid,
        action: RouteAction::Rollout,
        in_hard_pool: false,
    }
}

fn manifest<T: Table>(params: &KeyParams) -> Manifest {
    let inputs = params.inputs.iter().map(|(role, hash)| (role.clone(), InputRef { hash: hash.clone(), path: None }));
    Manifest { schema: T::NAME.to_owned(), version: T::VERSION, inputs: inputs.collect(), ..Manifest::default() }
}

/// Waits as long as it takes.
fn patiently() -> Result<(), StoreError> {
    Ok(())
}

/// Makes, or finds, a data set of one shard.
fn make<T: Table>(store: &Store, place: &str, params: &KeyParams, rows: &[T]) -> (Entry, Origin) {
    let make = |staging: &Staging| -> Result<Manifest, StoreError> {
        let mut writer = ShardWriter::create(&staging.path().join(part_name(0)), staging.key().as_str())?;
        writer.write(rows)?;
        Ok(Manifest { shards: vec![writer.finish()?], ..manifest::<T>(params) })
    };
    store.get_or_make(place, params, patiently, make).unwrap()
}

fn problems(store: &Store, seed: u64) -> Entry {
    let rows: Vec<_> = (0..20).map(|i| problem(seed * 100 + i)).collect();
    make(store, "import", &params("import", seed, &[]), &rows).0
}

/// A checkpoint: files that are not tables, one of them in a directory.
fn checkpoint(store: &Store, seed: u64, inputs: &[(&str, &Entry)]) -> Entry {
    let params = params("train", seed, inputs);
    let staging = store.staging("train", &params).unwrap();
    std::fs::write(staging.path().join("config.json"), "{}").unwrap();
    std::fs::create_dir(staging.path().join("optimizer")).unwrap();
    std::fs::write(staging.path().join("optimizer/moments.safetensors"), seed.to_string()).unwrap();
    let file = |name| FileInfo::of(staging.path(), name).unwrap();
    let files = vec![file("config.json"), file("optimizer/moments.safetensors")];
    let manifest = Manifest { schema: "checkpoint".to_owned(), files, ..manifest::<Problem>(&params) };
    store.publish(staging, manifest).unwrap()
}

/// Writes through a read-only file, as a failing disk would.
fn overwrite(path: &Path, edit: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    edit(&mut bytes);
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, bytes).unwrap();
}
