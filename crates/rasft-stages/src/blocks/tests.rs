use super::*;
use crate::Silent;
use rasft_types::{ExpertLoss, Scored};
use std::sync::atomic::AtomicBool;

#[test]
fn gc_leaves_blocks_that_a_run_holds() {
    let dir = tempfile::tempdir().unwrap();
    let store = rasft_store::Store::open(dir.path().join("s")).unwrap();
    let cancelled = AtomicBool::new(false);
    let hub = rasft_remote::HubSettings { offline: true, ..rasft_remote::HubSettings::at(dir.path().join("hub")) };
    let ctx = Ctx {
        store: &store,
        out: None,
        shards: None,
        shard: None,
        force: false,
        dry_run: false,
        skip_bad_rows: false,
        progress: &Silent,
        cancel: &cancelled,
        hub,
        base: None,
        host: None,
    };
    let units = ["a".to_owned(), "b".to_owned(), "c".to_owned()];
    let mapping = Mapping {
        units: &units,
        unit_hash: &|unit: &String| unit.clone(),
        shared_inputs: BTreeMap::new(),
        units_per_shard: 2,
    };
    let key =
        KeyParams { stage: "t".into(), stage_version: 1, params: serde_json::Map::new(), inputs: BTreeMap::new() };
    let row = |unit: &String| ExpertLoss {
        problem_id: unit.clone(),
        expert_tokens: 1,
        expert_nll: 0.5,
        scored: Scored::Scored,
    };
    let held = Blocks::of(&ctx, key, &mapping).unwrap();
    let (entries, _) = held.make(|units| Ok(units.iter().map(row).collect::<Vec<_>>())).unwrap();
    let plan = store.gc_plan(&[]).unwrap();
    assert_eq!(plan.delete.len(), 2);
    assert_eq!(store.gc_apply(&plan).unwrap().busy.len(), 2);
    assert_eq!(rows::<ExpertLoss>(&entries).map(|batch| batch.unwrap().len()).sum::<usize>(), 3);
    drop(held);
    assert_eq!(store.gc_apply(&plan).unwrap().deleted, 2);
}
