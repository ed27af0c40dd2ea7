//! `--out`.

use super::*;

#[test]
fn a_view_is_the_entry_under_another_name() {
    let (dir, store) = store();
    let entry = checkpoint(&store, 1, &[]);
    let out = dir.path().join("deep/out");
    store.view(&entry, &out).unwrap();
    store.view(&entry, &out).unwrap();
    assert!(rasft_fs::same_file(
        &out.join("optimizer/moments.safetensors"),
        &entry.path.join("optimizer/moments.safetensors")
    ));
    assert!(std::fs::metadata(out.join("config.json")).unwrap().permissions().readonly());
    assert_eq!(Manifest::read(&out).unwrap(), entry.manifest);
    let newer = checkpoint(&store, 2, &[]);
    store.view(&newer, &out).unwrap();
    assert_eq!(Manifest::read(&out).unwrap(), newer.manifest, "an older view is replaced");
    assert_eq!(std::fs::read_dir(dir.path().join("deep")).unwrap().count(), 1);
    store.view(&newer, &newer.path).unwrap();
    // One of another kind is not.
    let data = problems(&store, 1);
    let error = store.view(&data, &out).unwrap_err();
    assert!(error.to_string().contains("it holds checkpoint of `train`, and the result is problems"), "{error}");
    assert_eq!(Manifest::read(&out).unwrap(), newer.manifest);
}

#[test]
fn nothing_of_the_users_is_clobbered() {
    let (dir, store) = store();
    let entry = problems(&store, 1);
    let check = |out: &Path, part: &str| {
        let error = store.view(&entry, out).unwrap_err();
        assert_eq!(error.class(), Class::BadInput);
        assert!(error.to_string().contains(part), "{error}");
    };
    let thesis = dir.path().join("thesis");
    std::fs::create_dir(&thesis).unwrap();
    store.view(&entry, &thesis).unwrap();
    std::fs::write(thesis.join("notes.txt"), "mine").unwrap();
    let other = problems(&store, 2);
    let error = store.view(&other, &thesis).unwrap_err();
    assert!(error.to_string().contains("it also holds notes.txt"), "{error}");
    std::fs::remove_file(thesis.join(MANIFEST_FILE)).unwrap();
    check(&thesis, "it holds notes.txt");
    check(&thesis.join("notes.txt"), "a file or link of that name");
    assert_eq!(std::fs::read_to_string(thesis.join("notes.txt")).unwrap(), "mine");
}
