//! Damaged files of every kind are reported.

use super::*;

/// Every file of every kind, one bit flipped, then cut by a byte: `verify` names it, and so does reading it.
#[test]
fn every_kind_of_file() {
    let files = [
        part_name(0),
        "config.json".into(),
        "optimizer/moments.safetensors".into(),
        MANIFEST_FILE.into(),
        KEY_FILE.into(),
    ];
    for file in &files {
        for cut in [false, true] {
            let (_dir, store) = store();
            let data = problems(&store, 1);
            let model = checkpoint(&store, 1, &[("problems", &data)]);
            assert!(store.verify().unwrap().corrupt.is_empty());
            let entry = if *file == part_name(0) { &data } else { &model };
            let path = entry.path.join(file);
            let hurt = |bytes: &mut Vec<u8>| match cut {
                // Half-way in a manifest lies a hash; both kinds of JSON are covered wholly in their own tests.
                false => {
                    let at = bytes.len() / 2;
                    bytes[at] ^= 1
                }
                true => bytes.truncate(bytes.len() - 2.min(bytes.len())),
            };
            overwrite(&path, hurt);
            let corrupt = store.verify().unwrap().corrupt;
            assert_eq!(corrupt.len(), 1, "{file} {cut}: {corrupt:?}");
            assert_eq!(corrupt[0].file, path);
            std::fs::remove_file(&path).unwrap();
            assert_eq!(store.verify().unwrap().corrupt[0].file, path);
        }
    }
}

#[test]
fn a_damaged_entry_is_no_hit_and_no_miss() {
    let (_dir, store) = store();
    let entry = problems(&store, 1);
    let part = entry.path.join(part_name(0));
    let good = std::fs::read(&part).unwrap();
    overwrite(&part, |bytes| bytes.truncate(50));
    let error = store.lookup("import", &entry.key).unwrap_err();
    assert_eq!(error.class(), Class::Corrupt);
    overwrite(&part, |bytes| *bytes = good);
    overwrite(&part, |bytes| bytes[60] ^= 4);
    // The size fits, so the look-up hits; whoever reads the shard hears of it.
    let error = store.lookup("import", &entry.key).unwrap().unwrap().data_set().unwrap().read_all::<Problem>();
    assert_eq!(error.unwrap_err().class(), Class::Corrupt);
    std::fs::remove_file(entry.path.join(MANIFEST_FILE)).unwrap();
    assert_eq!(store.lookup("import", &entry.key).unwrap_err().class(), Class::Corrupt);
    assert!(store.ls().unwrap()[0].problem.is_some());
}

#[test]
fn strays_and_swapped_entries_are_reported() {
    let (_dir, store) = store();
    let [a, b] = [1, 2].map(|seed| problems(&store, seed));
    std::fs::write(a.path.join("stray"), "x").unwrap();
    assert_eq!(store.verify().unwrap().corrupt[0].file, a.path.join("stray"));
    std::fs::remove_file(a.path.join("stray")).unwrap();
    let parked = store.root().join("parked");
    std::fs::rename(&a.path, &parked).unwrap();
    std::fs::rename(&b.path, &a.path).unwrap();
    assert_eq!(store.lookup("import", &a.key).unwrap_err().class(), Class::Corrupt);
    assert_eq!(store.verify().unwrap().corrupt.len(), 2, "manifest and sidecar are of another key");
}
