//! Look up, make, publish, race.

use super::*;

#[test]
fn made_once_then_hit_and_readable_as_a_data_set() {
    let (_dir, store) = store();
    let p = params("import", 1, &[]);
    assert!(store.lookup("import", &p.key()).unwrap().is_none());
    let (made, origin) = make(&store, "import", &p, &[problem(1)]);
    assert_eq!(origin, Origin::Made);
    let (hit, origin) = make::<Problem>(&store, "import", &p, &[]);
    assert_eq!((origin, &hit.path), (Origin::Hit, &made.path));
    assert_eq!(hit.data_set().unwrap().read_all::<Problem>().unwrap(), [problem(1)]);
    assert_eq!(hit.key_params().unwrap(), p);
    assert!(std::fs::metadata(hit.path.join(part_name(0))).unwrap().permissions().readonly());
    assert_eq!(std::fs::read_dir(store.root().join("_tmp")).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(store.root().join("_locks")).unwrap().count(), 0);
}

#[test]
fn a_failure_leaves_nothing() {
    let (_dir, store) = store();
    let p = params("import", 1, &[]);
    let result = store.get_or_make("import", &p, patiently, |staging| {
        std::fs::write(staging.path().join("half"), "x").unwrap();
        Err::<Manifest, _>(StoreError::NoSuchEntry { what: "x".to_owned() })
    });
    assert!(result.is_err());
    assert!(store.ls().unwrap().is_empty());
    assert_eq!(std::fs::read_dir(store.root().join("_tmp")).unwrap().count(), 0);
    assert_eq!(make(&store, "import", &p, &[problem(1)]).1, Origin::Made);
}

#[test]
fn one_of_many_computes() {
    let (_dir, store) = store();
    let p = params("import", 1, &[]);
    let computed = AtomicU32::new(0);
    let barrier = std::sync::Barrier::new(6);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                barrier.wait();
                let made = store.get_or_make("import", &p, patiently, |staging| -> Result<Manifest, StoreError> {
                    computed.fetch_add(1, Ordering::SeqCst);
                    let mut writer = ShardWriter::create(&staging.path().join(part_name(0)), "k")?;
                    writer.write(&[problem(1)])?;
                    Ok(Manifest { shards: vec![writer.finish()?], ..manifest::<Problem>(&p) })
                });
                assert_eq!(made.unwrap().0.rows(), 1);
            });
        }
    });
    assert_eq!(computed.into_inner(), 1);
}

#[test]
fn who_waits_is_asked_and_may_give_up() {
    let (_dir, store) = store();
    let p = params("import", 1, &[]);
    let held = store.lock("import", &p.key(), patiently).unwrap();
    let mut asked = 0;
    let meanwhile = || {
        asked += 1;
        if asked < 3 { Ok(()) } else { Err(StoreError::NoSuchEntry { what: "patience".to_owned() }) }
    };
    let made =
        store.get_or_make("import", &p, meanwhile, |_| -> Result<Manifest, _> { unreachable!("the lock is held") });
    assert!(matches!(made, Err(StoreError::NoSuchEntry { what }) if what == "patience"));
    assert_eq!(asked, 3);
    drop(held);
    assert_eq!(make(&store, "import", &p, &[problem(1)]).1, Origin::Made);
}

#[test]
fn the_loser_of_a_race_takes_the_winners() {
    let (_dir, store) = store();
    let p = params("train", 1, &[]);
    let [a, b] = [0, 1].map(|_| store.staging("train", &p).unwrap());
    let first = store.publish(a, manifest::<Problem>(&p)).unwrap();
    let loser = store.publish(b, Manifest { summary: json!({"late": true}), ..manifest::<Problem>(&p) }).unwrap();
    assert_eq!(loser.manifest, first.manifest);
    let forced = store.staging("train", &p).unwrap();
    let forced =
        store.publish_over(forced, Manifest { summary: json!({"new": 1}), ..manifest::<Problem>(&p) }).unwrap();
    assert_eq!(forced.manifest.summary, json!({"new": 1}));
    assert_eq!(store.lookup("train", &p.key()).unwrap().unwrap().manifest, forced.manifest);
}

#[test]
fn shards_are_entries_that_data_sets_adopt() {
    let (_dir, store) = store();
    let shard = make(&store, "import/shards", &params("import", 9, &[]), &[problem(5)]).0;
    let p = params("import", 1, &[]);
    let staging = store.staging("import", &p).unwrap();
    let info = staging.adopt(&shard, &shard.manifest.shards[0], &part_name(3)).unwrap();
    let entry = store.publish(staging, Manifest { shards: vec![info], ..manifest::<Problem>(&p) }).unwrap();
    assert_eq!(entry.data_set().unwrap().read_all::<Problem>().unwrap(), [problem(5)]);
    assert!(rasft_fs::same_file(&entry.path.join(part_name(3)), &shard.path.join(part_name(0))));
}

#[test]
fn what_a_manifest_does_not_list_is_not_published() {
    let (_dir, store) = store();
    let p = params("train", 1, &[]);
    let staging = store.staging("train", &p).unwrap();
    std::fs::write(staging.path().join("stray"), "x").unwrap();
    let error = store.publish(staging, manifest::<Problem>(&p)).unwrap_err();
    assert!(matches!(error, StoreError::Unlisted { .. }), "{error}");
    for place in ["", "_tmp", "../x", "a/b/c", "A", "a//b"] {
        assert!(matches!(store.lookup(place, &p.key()), Err(StoreError::BadPlace { .. })), "{place}");
    }
}

#[test]
fn another_layout_is_refused() {
    let (_dir, store) = store();
    std::fs::write(store.root().join("_store.json"), r#"{"layout":2}"#).unwrap();
    let error = Store::open(store.root()).unwrap_err();
    assert!(error.to_string().contains("layout 2, this program knows 1"), "{error}");
}

/// P2: a pipeline of forty stages looks everything up in well under a second.
#[test]
fn forty_warm_lookups_are_quick() {
    let (_dir, store) = store();
    let keys: Vec<Key> = (0..40).map(|seed| problems(&store, seed).key).collect();
    let start = std::time::Instant::now();
    for key in &keys {
        let entry = store.lookup("import", key).unwrap().unwrap();
        assert_eq!(store.input_ref(&entry.path).unwrap().hash, entry.content_hash().unwrap());
    }
    assert!(start.elapsed().as_millis() < 400, "{:?}", start.elapsed());
}
