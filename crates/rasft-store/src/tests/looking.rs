//! `explain`, `ls`, `show`, `lineage`, input hashes.

use super::*;

#[test]
fn a_miss_names_the_fields_that_changed() {
    let (_dir, store) = store();
    let base = params("import", 1, &[]);
    let none = store.explain("import", &base).unwrap();
    assert_eq!((none.hit, none.nearest), (false, None));
    for seed in [1, 2, 3] {
        make(&store, "import", &params("import", seed, &[]), &[problem(seed)]);
    }
    assert!(store.explain("import", &base).unwrap().hit);
    let mut changed = params("import", 2, &[]);
    changed.params["sampling"]["temperature"] = json!(1.0);
    changed.inputs.insert("model".to_owned(), "ab".to_owned());
    let nearest = store.explain("import", &changed).unwrap().nearest.unwrap();
    assert_eq!(nearest.key, params("import", 2, &[]).key());
    let fields: BTreeMap<_, _> = nearest.differences.into_iter().map(|d| (d.field, (d.before, d.now))).collect();
    let expected = [
        ("inputs.model", (None, Some(json!("ab")))),
        ("params.sampling.temperature", (Some(json!(0.7)), Some(json!(1.0)))),
    ];
    assert_eq!(fields, expected.map(|(field, values)| (field.to_owned(), values)).into());
}

#[test]
fn an_entry_names_what_set_it_apart_when_it_was_made() {
    let (_dir, store) = store();
    let made = [1, 2, 3].map(|seed| {
        let entry = problems(&store, seed);
        let when = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seed);
        std::fs::File::open(&entry.path).unwrap().set_modified(when).unwrap();
        entry.key
    });
    let explained =
        |what: &Key, other: Option<&Key>| store.explain_entry(&what.as_str()[..20], other.map(Key::as_str)).unwrap();
    assert_eq!(explained(&made[0], None).nearest, None, "the first of its stage");
    let last = explained(&made[2], None);
    let nearest = last.nearest.unwrap();
    assert_eq!((last.place.as_str(), &nearest.key), ("import", &made[1]), "the latest of those as near");
    let fields = |n: &Nearest| {
        n.differences.iter().map(|d| (d.field.clone(), d.before.clone(), d.now.clone())).collect::<Vec<_>>()
    };
    assert_eq!(fields(&nearest), [("params.seed".to_owned(), Some(json!(2)), Some(json!(3)))]);
    let first = explained(&made[2], Some(&made[0])).nearest.unwrap();
    assert_eq!(fields(&first), [("params.seed".to_owned(), Some(json!(1)), Some(json!(3)))]);
    assert!(explained(&made[2], Some(&made[2])).nearest.unwrap().differences.is_empty());
    assert!(matches!(store.explain_entry("zz", None), Err(StoreError::NoSuchEntry { .. })));
}

#[test]
fn a_field_that_holds_nothing_is_no_difference() {
    let (_dir, store) = store();
    let mut unset = params("import", 1, &[]);
    unset.params.insert("limit".to_owned(), serde_json::Value::Null);
    make(&store, "import", &unset, &[problem(1)]);
    let with = |field: &str, value: serde_json::Value| {
        let mut params = params("import", 1, &[]);
        params.params.insert(field.to_owned(), value);
        let nearest = store.explain("import", &params).unwrap().nearest.unwrap();
        nearest.differences.into_iter().map(|d| (d.field, d.before, d.now)).collect::<Vec<_>>()
    };
    assert_eq!(with("skip", json!(3)), [("params.skip".to_owned(), None, Some(json!(3)))]);
    assert_eq!(with("other", serde_json::Value::Null), []);
}

#[test]
fn a_view_of_another_store_is_no_entry_of_this_one() {
    let ((dir, ours), (_theirs, theirs)) = (store(), store());
    let entry = problems(&theirs, 1);
    let out = dir.path().join("out");
    theirs.view(&entry, &out).unwrap();
    let own = problems(&ours, 2);
    for (what, other) in [(out.to_str().unwrap(), None), (own.key.as_str(), out.to_str())] {
        let error = ours.explain_entry(what, other).unwrap_err();
        assert!(matches!(&error, StoreError::NoSuchEntry { what } if what == out.to_str().unwrap()), "{error}");
        assert_eq!(error.class(), Class::BadInput);
    }
}

#[test]
fn listing_and_showing() {
    let (dir, store) = store();
    let data = problems(&store, 1);
    let shard = make(&store, "import/shards", &params("import", 9, &[]), &[problem(5)]).0;
    let listed = store.ls().unwrap();
    assert_eq!(listed.iter().map(|l| l.place.as_str()).collect::<Vec<_>>(), ["import", "import/shards"]);
    assert_eq!((listed[0].rows, listed[0].bytes, &listed[0].key), (20, data.bytes(), &data.key));
    let out = dir.path().join("out");
    store.view(&data, &out).unwrap();
    for what in [&data.key.as_str()[..12], out.to_str().unwrap(), out.join(part_name(0)).to_str().unwrap()] {
        let details = store.show(what).unwrap();
        assert_eq!((details.entry.key, details.params), (data.key.clone(), params("import", 1, &[])));
    }
    assert_eq!(store.show(shard.key.as_str()).unwrap().entry.place, "import/shards");
    // What `lineage` prints of it.
    let hash = data.content_hash().unwrap();
    assert_eq!(store.show(&hash[..12]).unwrap().entry.key, data.key);
    for what in ["", "zz", "/nowhere"] {
        assert!(matches!(store.show(what), Err(StoreError::NoSuchEntry { .. })), "{what}");
    }
    problems(&store, 7);
    for seed in 0..40 {
        problems(&store, seed);
    }
    let first = store.ls().unwrap()[0].key.as_str()[..1].to_owned();
    let doubles = store.ls().unwrap().iter().filter(|l| l.key.as_str().starts_with(&first)).count();
    assert!(doubles == 1 || matches!(store.show(&first), Err(StoreError::Ambiguous { .. })));
}

#[test]
fn lineage_walks_back_to_every_input() {
    let (dir, store) = store();
    let data = problems(&store, 1);
    let rows: Vec<_> = (0..3).map(difficulty).collect();
    let model = checkpoint(&store, 0, &[]);
    let hard = make(&store, "difficulty", &params("difficulty", 1, &[("problems", &data), ("model", &model)]), &rows).0;
    let mut p = params("train", 1, &[("mixture", &hard), ("problems", &data)]);
    p.inputs.insert("outside".to_owned(), "ee".repeat(32));
    let staging = store.staging("train", &p).unwrap();
    let mut m = manifest::<Problem>(&p);
    m.inputs.get_mut("outside").unwrap().path = Some("/models/base".to_owned());
    let last = store.publish(staging, m).unwrap();
    let out = dir.path().join("out");
    store.view(&last, &out).unwrap();
    let tree = store.lineage(out.to_str().unwrap()).unwrap();
    assert_eq!(tree.hash, last.content_hash().unwrap());
    let roles: Vec<&str> = tree.inputs.iter().map(|n| n.role.as_str()).collect();
    assert_eq!(roles, ["mixture", "outside", "problems"]);
    let deep: Vec<_> =
        tree.inputs[0].inputs.iter().map(|n| (n.role.as_str(), n.place.as_deref(), n.repeated)).collect();
    assert_eq!(deep, [("model", Some("train"), false), ("problems", Some("import"), false)]);
    assert_eq!(tree.inputs[1].path.as_deref(), Some(Path::new("/models/base")));
    assert_eq!((tree.inputs[1].place.clone(), tree.inputs[2].repeated), (None, true));
    assert_eq!(store.lineage(hard.key.as_str()).unwrap().inputs.len(), 2);
    let error = store.show(&"ee".repeat(20)).unwrap_err();
    assert!(
        error.to_string().contains("outside: outside of `train`") && error.to_string().contains("/models/base"),
        "{error}"
    );
    assert_eq!(error.class(), Class::BadInput);
}

#[test]
fn inputs_of_every_kind_have_a_hash() {
    let (dir, store) = store();
    let data = problems(&store, 1);
    assert_eq!(store.input_ref(&data.path).unwrap().hash, data.content_hash().unwrap());
    let part = data.path.join(part_name(0));
    assert_eq!(store.input_ref(&part).unwrap().hash, hash_file(&part).unwrap());
    let theirs = dir.path().join("theirs");
    std::fs::create_dir(&theirs).unwrap();
    std::fs::copy(&part, theirs.join("x.parquet")).unwrap();
    assert_eq!(store.input_ref(&theirs).unwrap().hash, DataSet::open(&theirs).unwrap().content_hash().unwrap());
    assert_eq!(store.input_ref(&dir.path().join("none")).unwrap_err().class(), Class::BadInput);
}
