use super::*;
use crate::ErrorClass;
use rasft_data::hash128;
use rasft_types::FinishReason;
use serde_json::json;

const POLICY: &str = "aa";

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().join("s")).unwrap();
    (dir, store)
}

fn identity() -> Value {
    json!({ "sampling": { "temperature": 0.5 }, "seed": 1 })
}

fn open(store: &Store, reuse: Reuse) -> SampleCache<'_> {
    SampleCache::open(store, &identity(), POLICY, reuse).unwrap()
}

fn row(n: u32, text: &str) -> Rollout {
    Rollout {
        rollout_id: hash128(&[&n.to_le_bytes()]),
        problem_id: (n / 4).to_string(),
        sample_index: n % 4,
        policy_id: POLICY.to_owned(),
        round: 0,
        prompt_tokens: 3,
        completion: format!("{text} {n}"),
        token_ids: vec![n, n + 1],
        token_logprobs: vec![-0.5, -0.25],
        finish_reason: FinishReason::Stop,
    }
}

fn ids(numbers: impl IntoIterator<Item = u32>) -> Vec<String> {
    numbers.into_iter().map(|n| row(n, "").rollout_id).collect()
}

fn segments(store: &Store) -> usize {
    store.keys(&SampleCache::place(&identity(), POLICY)).unwrap().len()
}

#[test]
fn samples_are_found_again_in_any_order() {
    let (_dir, store) = store();
    let mut cache = open(&store, Reuse::All);
    cache.add(&[]).unwrap();
    cache.add(&[row(2, "x"), row(0, "x")]).unwrap();
    cache.add(&[row(7, "x")]).unwrap();
    assert!(cache.has(&row(7, "").rollout_id) && !cache.has(&row(1, "").rollout_id) && !cache.has("no id"));
    cache.close().unwrap();
    let cache = open(&store, Reuse::All);
    assert_eq!(cache.rows(&ids([7, 0, 2, 0])).unwrap(), [row(7, "x"), row(0, "x"), row(2, "x"), row(0, "x")]);
    assert!(cache.rows(&ids([7, 1])).is_err());
    assert_eq!(cache.rows(&[]).unwrap(), []);
}

#[test]
fn every_part_of_the_identity_is_a_place_of_its_own() {
    let place = SampleCache::place(&identity(), POLICY);
    let mut other = identity();
    other["sampling"]["temperature"] = json!(0.25);
    let mut seed = identity();
    seed["seed"] = json!(2);
    for differs in
        [SampleCache::place(&other, POLICY), SampleCache::place(&seed, POLICY), SampleCache::place(&identity(), "ab")]
    {
        assert_ne!(place, differs);
    }
    assert_eq!(place, SampleCache::place(&identity(), POLICY));
}

#[test]
fn small_segments_are_merged_and_nothing_is_lost() {
    let (_dir, store) = store();
    let mut cache = open(&store, Reuse::All);
    let n = MERGE_SEGMENTS as u32 + 7;
    for i in 0..n {
        cache.add(&[row(i, "x")]).unwrap();
    }
    let expected: Vec<Rollout> = (0..n).map(|i| row(i, "x")).collect();
    assert_eq!(cache.rows(&ids(0..n)).unwrap(), expected);
    // A killed process leaves the merged ones and what they were merged from.
    drop(cache);
    assert_eq!(segments(&store), n as usize + 1);
    let cache = open(&store, Reuse::All);
    assert_eq!(cache.rows(&ids(0..n)).unwrap(), expected);
    // The next run merges what the killed one left.
    cache.close().unwrap();
    assert_eq!(segments(&store), 1);
    let cache = open(&store, Reuse::All);
    assert_eq!(cache.rows(&ids(0..n)).unwrap(), expected);
}

#[test]
fn segments_of_killed_runs_do_not_pile_up() {
    let (_dir, store) = store();
    for i in 0..=LEAVE_SEGMENTS as u32 {
        open(&store, Reuse::All).add(&[row(i, "x"), row(i + 1, "x")]).unwrap();
    }
    assert_eq!(segments(&store), LEAVE_SEGMENTS + 1);
    open(&store, Reuse::All).close().unwrap();
    assert_eq!(segments(&store), 1);
    let cache = open(&store, Reuse::All);
    let n = LEAVE_SEGMENTS as u32 + 2;
    assert_eq!(cache.segments[0].rows(), u64::from(n));
    assert_eq!(cache.rows(&ids(0..n)).unwrap(), (0..n).map(|i| row(i, "x")).collect::<Vec<_>>());
}

#[test]
fn what_another_process_uses_stays() {
    let (_dir, store) = store();
    let mut ours = open(&store, Reuse::All);
    for i in 0..=LEAVE_SEGMENTS as u32 {
        ours.add(&[row(i, "x")]).unwrap();
    }
    let theirs = open(&store, Reuse::All);
    ours.close().unwrap();
    assert_eq!(segments(&store), LEAVE_SEGMENTS + 2);
    assert_eq!(theirs.rows(&ids([1])).unwrap(), [row(1, "x")]);
    let plan = store.gc_plan(&[]).unwrap();
    assert_eq!(plan.delete.len(), LEAVE_SEGMENTS + 2);
    assert_eq!(store.gc_apply(&plan).unwrap().busy.len(), LEAVE_SEGMENTS + 2);
    theirs.close().unwrap();
    open(&store, Reuse::All).close().unwrap();
    assert_eq!(segments(&store), 1);
    store.gc_apply(&store.gc_plan(&[]).unwrap()).unwrap();
    assert_eq!(segments(&store), 0);
}

#[test]
fn two_at_once_both_count() {
    let (_dir, store) = store();
    let (mut a, mut b) = (open(&store, Reuse::All), open(&store, Reuse::All));
    a.add(&[row(0, "x"), row(1, "x")]).unwrap();
    b.add(&[row(1, "x"), row(2, "x")]).unwrap();
    a.close().unwrap();
    b.close().unwrap();
    let cache = open(&store, Reuse::All);
    assert_eq!(cache.rows(&ids(0..3)).unwrap(), [row(0, "x"), row(1, "x"), row(2, "x")]);
}

#[test]
fn forced_samples_replace_the_older_ones() {
    let (_dir, store) = store();
    let mut cache = open(&store, Reuse::All);
    cache.add(&[row(0, "old"), row(1, "old"), row(2, "old")]).unwrap();
    cache.close().unwrap();
    let mut forced = open(&store, Reuse::Nothing);
    assert!(!forced.has(&row(0, "").rollout_id));
    forced.add(&[row(0, "new"), row(1, "new")]).unwrap();
    forced.close().unwrap();
    let cache = open(&store, Reuse::All);
    assert_eq!(cache.rows(&ids(0..3)).unwrap(), [row(0, "new"), row(1, "new"), row(2, "old")]);
}

#[test]
fn a_flipped_bit_is_found_before_anything_is_read() {
    let (_dir, store) = store();
    let mut cache = open(&store, Reuse::All);
    cache.add(&[row(0, "x")]).unwrap();
    let file = cache.segments[0].path.join(part_name(0));
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let mut permissions = std::fs::metadata(&file).unwrap().permissions();
    #[expect(clippy::permissions_set_readonly_false, reason = "a file of this test's own")]
    permissions.set_readonly(false);
    std::fs::set_permissions(&file, permissions).unwrap();
    std::fs::write(&file, bytes).unwrap();
    let check = |error: Error| {
        assert_eq!(error.class(), ErrorClass::Corrupt);
        let text = error.to_string();
        assert!(text.contains(part_name(0).as_str()) && text.contains("blake3"), "{text}");
    };
    check(cache.rows(&ids([0])).err().unwrap());
    check(SampleCache::open(&store, &identity(), POLICY, Reuse::All).err().unwrap());
    assert_eq!(store.verify().unwrap().corrupt.len(), 1);
}
