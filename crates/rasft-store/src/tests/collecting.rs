//! `gc`.

use super::*;

fn places(listed: &[Listed]) -> Vec<(&str, Key)> {
    listed.iter().map(|l| (l.place.as_str(), l.key.clone())).collect()
}

#[test]
fn gc_keeps_what_views_and_kept_roots_reach() {
    let (dir, store) = store();
    let shard = make(
        &store,
        "import/shards",
        &params("import", 1, &[]),
        &(0..20).map(|i| problem(100 + i)).collect::<Vec<_>>(),
    )
    .0;
    let idle = make(&store, "import/shards", &params("import", 77, &[]), &[problem(7)]).0;
    let p = params("import", 1, &[]);
    let staging = store.staging("import", &p).unwrap();
    let info = staging.adopt(&shard, &shard.manifest.shards[0], &part_name(0)).unwrap();
    let data = store.publish(staging, Manifest { shards: vec![info], ..manifest::<Problem>(&p) }).unwrap();
    let model = checkpoint(&store, 1, &[("problems", &data)]);
    let [kept, loose] = [2, 3].map(|seed| problems(&store, seed));
    let out = dir.path().join("out");
    store.view(&model, &out).unwrap();
    let keep = [kept.key.to_string()];
    let plan = store.gc_plan(&keep).unwrap();
    assert_eq!(places(&plan.delete), {
        let mut gone = vec![("import", loose.key.clone()), ("import/shards", idle.key.clone())];
        gone.sort();
        gone
    });
    assert_eq!(plan.bytes(), loose.bytes() + idle.bytes());
    assert_eq!(store.ls().unwrap().len(), 6, "planning changes nothing");
    assert_eq!(store.gc_apply(&plan).unwrap().deleted, 2);
    assert_eq!(store.ls().unwrap(), plan.keep);
    assert!(store.verify().unwrap().corrupt.is_empty());
    assert!(store.lookup("import", &loose.key).unwrap().is_none());

    // A vanished view is no root: its checkpoint and all that made it may go.
    rasft_fs::remove_tree(&out).unwrap();
    let plan = store.gc_plan(&[]).unwrap();
    assert_eq!((plan.keep.len(), plan.delete.len(), plan.vanished.len()), (0, 4, 1));
    store.gc_apply(&plan).unwrap();
    assert!(store.ls().unwrap().is_empty());
    assert_eq!(store.gc_plan(&[]).unwrap(), GcPlan::default());
}

#[test]
fn a_view_of_something_newer_no_longer_keeps_the_old() {
    let (dir, store) = store();
    let [old, new] = [1, 2].map(|seed| problems(&store, seed));
    let out = dir.path().join("out");
    store.view(&old, &out).unwrap();
    store.view(&new, &out).unwrap();
    assert_eq!(places(&store.gc_plan(&[]).unwrap().delete), [("import", old.key)]);
}

#[test]
fn leftovers_of_killed_processes_go_and_live_work_stays() {
    let (_dir, store) = store();
    let p = params("import", 1, &[]);
    let live = store.staging("import", &p).unwrap();
    let mut dead = store.staging("import", &params("import", 2, &[])).unwrap();
    // A killed process: its lock is released by the system, nothing is cleaned up.
    drop(dead.lock.take());
    let path = dead.path.clone();
    std::mem::forget(dead);
    std::fs::write(path.join("half"), "x").unwrap();
    let plan = store.gc_plan(&[]).unwrap();
    assert_eq!(plan.stale, std::slice::from_ref(&path));
    store.gc_apply(&plan).unwrap();
    assert!(!path.exists() && live.path().exists());
    drop(live);
    assert_eq!(std::fs::read_dir(store.root().join("_tmp")).unwrap().count(), 0);
}

#[test]
fn a_key_being_worked_on_is_left_alone() {
    let (_dir, store) = store();
    let entry = problems(&store, 1);
    let plan = store.gc_plan(&[]).unwrap();
    let lock = store.lock("import", &entry.key, patiently).unwrap();
    assert_eq!(store.gc_apply(&plan).unwrap(), GcReport { deleted: 0, busy: vec![entry.path.clone()] });
    drop(lock);
    assert_eq!(store.gc_apply(&plan).unwrap().deleted, 1);
}
