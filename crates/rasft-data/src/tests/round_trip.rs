//! What is written is read, for every table and for any text.

use super::sample;
use crate::*;
use proptest::prelude::*;
use rasft_types::*;
use std::fmt::Debug;

/// Writes 3000 rows in two shards and reads them back; `Debug` compares NaN with NaN.
fn check<T: Table + Debug>(make: fn(usize) -> T) {
    let dir = tempfile::tempdir().unwrap();
    let rows: Vec<T> = (0..3000).map(make).collect();
    sample::data_set(dir.path(), &rows, 2);
    let data = DataSet::open(dir.path()).unwrap();
    assert_eq!(data.n_rows(), 3000);
    let back: Vec<T> = data.read_all().unwrap();
    assert_eq!(back.len(), rows.len());
    for (a, b) in back.iter().zip(&rows) {
        assert_eq!(format!("{a:?}"), format!("{b:?}"));
    }
    let second: Vec<T> = data.read_shard(1).unwrap().all().unwrap();
    assert_eq!(format!("{:?}", second[0]), format!("{:?}", rows[1500]));
}

#[test]
fn every_table() {
    check(sample::problem);
    check(sample::difficulty);
    check(sample::expert_loss);
    check(sample::rollout);
    check(sample::verdict);
    check(sample::solvability);
    check(sample::mixture);
    check(sample::metrics);
    check(sample::eval_sample);
    check(sample::eval_summary);
    check(sample::reject);
    check(sample::comparison);
    check(sample::judged_pair);
    check(|i| PairRow { gold: i.to_string(), response: "4".to_owned() });
}

#[test]
fn an_empty_data_set_is_a_data_set() {
    let dir = tempfile::tempdir().unwrap();
    sample::data_set::<Problem>(dir.path(), &[], 1);
    let data = DataSet::open(dir.path()).unwrap();
    assert!(data.read_all::<Problem>().unwrap().is_empty());
    let error = data.non_empty().unwrap_err();
    assert_eq!(error.class(), Class::BadInput);
}

#[test]
fn projection_leaves_the_rest_blank() {
    let dir = tempfile::tempdir().unwrap();
    let rows: Vec<_> = (0..10).map(sample::mixture).collect();
    sample::data_set(dir.path(), &rows, 1);
    let data = DataSet::open(dir.path()).unwrap();
    let some = data.read_columns::<MixtureRow>(&["input_ids", "weight"]).unwrap().all().unwrap();
    assert_eq!(some[3].input_ids, rows[3].input_ids);
    assert_eq!(some[3].weight, rows[3].weight);
    assert_eq!(some[3].prompt_text, "");
    assert_eq!(some[3].order, 0);
    let none = data.read_columns::<MixtureRow>(&[]).unwrap().all().unwrap();
    assert_eq!(none.len(), 10);
    assert!(data.read_columns::<MixtureRow>(&["inputids"]).is_err());
    let dir = tempfile::tempdir().unwrap();
    sample::data_set(dir.path(), &[sample::eval_sample(1)], 1);
    let data = DataSet::open(dir.path()).unwrap();
    let some = data.read_columns::<EvalSampleRow>(&["problem_id", "correct"]).unwrap().all().unwrap();
    assert_eq!(some[0].verdict.problem_id, sample::verdict(1).problem_id);
    assert_eq!(some[0].bench, "");
}

#[test]
fn rejects_lie_beside_the_data() {
    let dir = tempfile::tempdir().unwrap();
    let file = write_rejects(dir.path(), "k", &[sample::reject(3)]).unwrap();
    let mut manifest = sample::data_set(dir.path(), &[sample::problem(0)], 1);
    manifest.files.push(file);
    manifest.write(dir.path()).unwrap();
    let data = DataSet::open(dir.path()).unwrap();
    assert_eq!(data.n_rows(), 1);
    assert_eq!(data.rejects().unwrap().unwrap().read_all::<RejectRow>().unwrap(), [sample::reject(3)]);
    std::fs::remove_file(dir.path().join(MANIFEST_FILE)).unwrap();
    assert_eq!(DataSet::open(dir.path()).unwrap().n_rows(), 1, "rejects are no data");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn any_problem(
        texts in prop::collection::vec((any::<String>(), any::<Option<String>>(), prop::collection::vec(any::<String>(), 0..4)), 0..20),
    ) {
        let rows: Vec<Problem> = texts
            .into_iter()
            .map(|(prompt, answer, tests)| Problem {
                code: (!tests.is_empty()).then(|| CodeSpec { entry_point: answer.clone(), setup: prompt.clone(), tests, prompt_is_prefix: false }),
                prompt,
                answer,
                ..sample::problem(1)
            })
            .collect();
        let batch = Problem::encode(&rows).unwrap();
        let site = Site { native: true, ..Site::foreign("f") };
        prop_assert_eq!(Problem::decode(&batch, &site).unwrap(), rows);
    }
}
