//! Tables other tools wrote: what is accepted, and what is said of the rest.

use super::sample;
use crate::*;
use arrow::array::*;
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use rasft_types::*;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn strings(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn write(dir: &Path, columns: Vec<(&str, ArrayRef)>, schema: Option<&str>) -> PathBuf {
    let fields: Vec<Field> = columns.iter().map(|(n, a)| Field::new(*n, a.data_type().clone(), true)).collect();
    let arrays = columns.into_iter().map(|(_, a)| a).collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap();
    let pairs = schema.map(|s| vec![KeyValue::new("rasft.schema".to_owned(), s.to_owned())]);
    let properties = WriterProperties::builder().set_key_value_metadata(pairs).build();
    let path = dir.join("theirs.parquet");
    let mut writer =
        ArrowWriter::try_new(std::fs::File::create(&path).unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    path
}

fn read<T: Table>(columns: Vec<(&str, ArrayRef)>) -> Result<Vec<T>, DataError> {
    let dir = tempfile::tempdir().unwrap();
    DataSet::open(write(dir.path(), columns, None))?.read_all()
}

/// The read fails as bad input, and the message has every one of `parts`.
fn refused<T: Table>(columns: Vec<(&str, ArrayRef)>, parts: &[&str]) {
    let error = read::<T>(columns).err().expect("must be refused");
    assert_eq!(error.class(), Class::BadInput, "{error}");
    let text = error.to_string();
    for part in parts.iter().chain(&["theirs.parquet", "\nhint: "]) {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

fn large_list(rows: &[&[i64]]) -> ArrayRef {
    let mut builder = LargeListBuilder::new(Int64Builder::new());
    for row in rows {
        builder.append_value(row.iter().map(|&v| Some(v)));
    }
    Arc::new(builder.finish())
}

#[test]
fn a_mixture_of_four_columns_in_wide_types() {
    let rows = read::<MixtureRow>(vec![
        ("ref_logprob", Arc::new(Float64Array::from(vec![-0.5, -1.5]))),
        ("input_ids", large_list(&[&[1, 2, 3], &[4]])),
        ("prompt_len", Arc::new(Int64Array::from(vec![1, 0]))),
        ("weight", Arc::new(Float32Array::from(vec![0.5, 2.0]))),
        ("their_note", strings(&["x", "y"])),
    ])
    .unwrap();
    assert_eq!(rows[0].input_ids, [1, 2, 3]);
    assert_eq!((rows[1].prompt_len, rows[1].weight, rows[1].ref_logprob, rows[1].order), (0, 2.0, -1.5, 1));
    assert_ne!(rows[0].trajectory_id, rows[1].trajectory_id);
    assert_eq!(rows[0].trajectory_id.len(), 32);
}

/// A table of an earlier version reads as one that somebody else wrote: what it lacks has its default.
#[test]
fn a_mixture_of_version_1_is_still_read_and_one_of_version_3_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let columns = || -> Vec<(&str, ArrayRef)> {
        vec![
            ("input_ids", large_list(&[&[1, 2, 3], &[4, 5]])),
            ("prompt_len", Arc::new(UInt32Array::from(vec![1, 1]))),
            ("weight", Arc::new(Float64Array::from(vec![0.5, 2.0]))),
            ("order", Arc::new(UInt64Array::from(vec![7, 3]))),
        ]
    };
    let rows: Vec<MixtureRow> =
        DataSet::open(write(dir.path(), columns(), Some("mixture/1"))).unwrap().read_all().unwrap();
    let read: Vec<_> = rows.iter().map(|r| (r.order, r.weight, r.old_logprobs.clone())).collect();
    assert_eq!(read, [(7, 0.5, None), (3, 2.0, None)]);
    let newer = DataSet::open(write(dir.path(), columns(), Some("mixture/3"))).unwrap().read_all::<MixtureRow>();
    assert!(newer.unwrap_err().to_string().contains("a newer toolkit wrote it"));
}

#[test]
fn a_mixture_of_two_columns() {
    let rows = read::<MixtureRow>(vec![
        ("input_ids", large_list(&[&[1, 2, 3]])),
        ("prompt_len", Arc::new(UInt8Array::from(vec![1]))),
    ])
    .unwrap();
    assert_eq!(rows[0].weight, 1.0);
    assert!(rows[0].ref_logprob.is_nan());
}

#[test]
fn rollouts_of_two_columns_are_counted_per_problem() {
    let dir = tempfile::tempdir().unwrap();
    let ids: Vec<String> = (0..2600).map(|i| format!("p{}", i % 2)).collect();
    let texts: Vec<String> = (0..2600).map(|i| format!("t{i}")).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("problem_id", Arc::new(StringViewArray::from_iter_values(&ids))),
        ("completion", Arc::new(LargeStringArray::from(texts))),
    ];
    let path = write(dir.path(), columns, None);
    let rows = DataSet::open(path).unwrap().read_all::<Rollout>().unwrap();
    assert_eq!((rows[0].sample_index, rows[1].sample_index, rows[2].sample_index), (0, 0, 1));
    assert_eq!(rows[2599].sample_index, 1299, "the count goes on over batches");
    let unique: std::collections::BTreeSet<_> = rows.iter().map(|r| &r.rollout_id).collect();
    assert_eq!(unique.len(), rows.len());
}

#[test]
fn dictionaries_nulls_and_structs_of_other_layouts() {
    let words: DictionaryArray<Int32Type> = vec!["code", "math", "code"].into_iter().collect();
    let code = StructArray::from(vec![
        (
            Arc::new(Field::new("prompt_is_prefix", DataType::Boolean, true)),
            Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])) as ArrayRef,
        ),
        (
            Arc::new(Field::new("setup", DataType::Utf8View, true)),
            Arc::new(StringViewArray::from(vec![Some("s"), None, Some("")])) as ArrayRef,
        ),
        (Arc::new(Field::new("tests", DataType::List(Arc::new(Field::new("item", DataType::Utf8, true))), true)), {
            let mut b = ListBuilder::new(StringBuilder::new());
            b.append_value([Some("t1"), Some("t2")]);
            b.append_null();
            b.append_value([None::<&str>; 0]);
            Arc::new(b.finish()) as ArrayRef
        }),
    ]);
    let code = StructArray::new(code.fields().clone(), code.columns().to_vec(), Some(vec![true, false, true].into()));
    let rows = read::<Problem>(vec![
        ("problem_id", strings(&["a", "b", "c"])),
        ("prompt", strings(&["p", "q", "r"])),
        ("domain", Arc::new(words)),
        ("code", Arc::new(code)),
        ("answer", Arc::new(NullArray::new(3))),
    ])
    .unwrap();
    assert_eq!(rows[0].domain, Domain::Code);
    assert_eq!(rows[0].code.as_ref().unwrap().tests, ["t1", "t2"]);
    assert_eq!(rows[0].code.as_ref().unwrap().entry_point, None);
    assert_eq!(rows[1].code, None);
    assert_eq!(rows[2].answer, None);
    assert_eq!(rows[1].meta, "{}");
}

#[test]
fn refusals_name_row_and_column() {
    let ids = || ("problem_id", strings(&["a", "b", "c"]));
    let prompts = || ("prompt", strings(&["a", "b", "c"]));
    refused::<Problem>(vec![ids()], &["column \"prompt\" (utf8)", "is missing", "problem_id"]);
    refused::<Problem>(
        vec![ids(), ("prompt", Arc::new(StringArray::from(vec![Some("x"), Some("y"), None])))],
        &["row 2, column \"prompt\"", "found null"],
    );
    refused::<Problem>(
        vec![ids(), prompts(), ("domain", strings(&["math", "maths", "code"]))],
        &["row 1", "math|code", "\"maths\""],
    );
    refused::<Problem>(
        vec![ids(), ("prompt", Arc::new(Int64Array::from(vec![1, 2, 3])))],
        &["column \"prompt\": expected utf8, found Int64"],
    );
    let mixture = |lists: ArrayRef, lens: ArrayRef| vec![("input_ids", lists), ("prompt_len", lens)];
    let ones = || Arc::new(Int64Array::from(vec![1, 1])) as ArrayRef;
    refused::<MixtureRow>(
        mixture(large_list(&[&[], &[1, 2, -3]]), ones()),
        &["row 1, column \"input_ids\"", "found -3"],
    );
    refused::<MixtureRow>(
        mixture(large_list(&[&[1], &[1]]), Arc::new(Int64Array::from(vec![1, 1 << 32]))),
        &["row 1, column \"prompt_len\"", "expected u32, found 4294967296"],
    );
    let mut too_big = mixture(large_list(&[&[1], &[1]]), ones());
    too_big.push(("ref_logprob", Arc::new(Float64Array::from(vec![f64::NAN, 1e300]))));
    refused::<MixtureRow>(too_big, &["row 1, column \"ref_logprob\"", "found 1e300"]);
    let mut imprecise = mixture(large_list(&[&[1], &[1]]), ones());
    imprecise.push(("weight", Arc::new(Int64Array::from(vec![3, (1 << 53) + 1]))));
    refused::<MixtureRow>(imprecise, &["row 1, column \"weight\"", "9007199254740993"]);
}

#[test]
fn tables_that_say_they_are_ours_are_held_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let columns = || vec![("problem_id", strings(&["a"])), ("prompt", strings(&["b"]))];
    let check = |schema: &str, part: &str| {
        let path = write(dir.path(), columns(), Some(schema));
        let error = DataSet::open(path).unwrap().read_all::<Problem>().unwrap_err();
        assert_eq!(error.class(), Class::BadInput);
        assert!(error.to_string().contains(part), "{error}");
    };
    check("rollouts/1", "holds the table \"rollouts\", expected \"problems\"");
    check("problems/2", "upgrade this one");
    check("problems/0", "make the data set again");
    check("problems", "make the data set again");
    check("problems/1", "column \"domain\"");
}

#[test]
fn manifests_of_other_tables_are_refused_before_reading() {
    let dir = tempfile::tempdir().unwrap();
    sample::data_set(dir.path(), &[sample::rollout(0)], 1);
    let error = DataSet::open(dir.path()).unwrap().read::<Problem>().err().unwrap();
    assert!(error.to_string().contains("two arguments may be swapped"), "{error}");
}

#[test]
fn paths_without_tables() {
    let dir = tempfile::tempdir().unwrap();
    let check = |path: &Path, part: &str| {
        let error = DataSet::open(path).unwrap_err();
        assert_eq!(error.class(), Class::BadInput);
        assert!(error.to_string().contains(part), "{error}");
    };
    check(&dir.path().join("none"), "does not exist");
    check(dir.path(), "holds no Parquet file");
    std::fs::write(dir.path().join("a.jsonl"), "{}").unwrap();
    check(dir.path(), "rasft-import");
    check(&dir.path().join("a.jsonl"), "is not a Parquet file");
    std::fs::write(dir.path().join("a.parquet"), "").unwrap();
    check(dir.path(), "it is empty");
}

#[test]
fn a_directory_of_files_is_read_by_name_and_hashed_by_content() {
    let dir = tempfile::tempdir().unwrap();
    for (i, name) in ["b.parquet", "a.parquet"].iter().enumerate() {
        let mut writer = ShardWriter::create(&dir.path().join(name), "k").unwrap();
        writer.write(&[sample::problem(i)]).unwrap();
        writer.finish().unwrap();
    }
    let data = DataSet::open(dir.path()).unwrap();
    assert_eq!(data.read_all::<Problem>().unwrap(), [sample::problem(1), sample::problem(0)]);
    let hash = data.content_hash().unwrap();
    std::fs::rename(dir.path().join("b.parquet"), dir.path().join("c.parquet")).unwrap();
    assert_eq!(DataSet::open(dir.path()).unwrap().content_hash().unwrap(), hash);
    std::fs::rename(dir.path().join("c.parquet"), dir.path().join("0.parquet")).unwrap();
    assert_ne!(DataSet::open(dir.path()).unwrap().content_hash().unwrap(), hash);
}
