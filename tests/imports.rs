//! Choosing and counting at import, through the real binary.

mod support;

use rasft_data::DataSet;
use rasft_types::Problem;
use serde_json::Value;
use support::Bench;

fn made(bench: &Bench, args: &[&str]) -> (Value, Vec<Problem>) {
    let out = bench.run("rasft-import", &[args, &["--json"]].concat()).json();
    let rows = DataSet::open(out["path"].as_str().expect("a path")).and_then(|d| d.read_all()).expect("problems");
    (out, rows)
}

fn counts(out: &Value) -> Value {
    let path = std::path::Path::new(out["path"].as_str().expect("a path")).join("_manifest.json");
    let manifest: Value = serde_json::from_slice(&std::fs::read(path).expect("manifest")).expect("JSON");
    let counts = manifest["counts"].clone();
    let left_out: u64 = counts["n_rejected"].as_object().expect("reasons").values().filter_map(Value::as_u64).sum();
    let (n_in, n_out) = (counts["n_in"].as_u64().expect("n_in"), counts["n_out"].as_u64().expect("n_out"));
    assert_eq!(n_in, n_out + left_out, "every record is accounted for: {counts}");
    counts
}

#[test]
fn source_skip_limit_and_sample_hold_for_every_format() {
    let bench = Bench::new();
    let table = bench.problems(20);
    let lines: String = (0..20).map(|i| format!("{{\"question\": \"Q{i}\", \"answer\": \"#### {i}\"}}\n")).collect();
    let jsonl = bench.write("q.jsonl", lines);
    // A skip from a file and a sample from a flag meet.
    let config = bench.write("x.toml", "[import]\nskip = 5\n");
    for format in [&["parquet", "--in", &table][..], &["synthetic", "--rows", "20"], &["gsm8k", "--in", &jsonl]] {
        let choose = ["--source", "mine", "--limit", "10", "--sample", "4", "--config", &config];
        let (out, rows) = made(&bench, &[format, &choose[..]].concat());
        assert!(rows.len() == 4 && rows.iter().all(|p| p.source == "mine"), "{format:?}: {rows:?}");
        let rejected = counts(&out)["n_rejected"].clone();
        let expected = serde_json::json!({ "skipped_at_the_beginning": 5, "not_sampled": 6, "beyond_limit": 5 });
        assert_eq!(rejected, expected, "{format:?}");
        let (_, all) = made(&bench, format);
        let place = |p: &Problem| all.iter().position(|q| q.problem_id == p.problem_id).expect("one of them");
        let places: Vec<usize> = rows.iter().map(place).collect();
        assert!(places.is_sorted() && places.iter().all(|i| (5..15).contains(i)), "{format:?}: {places:?}");
    }
}

#[test]
fn names_that_stand_in_the_rejects_stand_in_the_key() {
    let bench = Bench::new();
    let text = "{\"question\": \"Q\", \"answer\": \"#### 1\"}\nnot json\n";
    let (a, b) = (bench.write("a.jsonl", text), bench.write("b.jsonl", text));
    let key = |file: &str, extra: &[&str]| {
        let out = bench.run("rasft-import", &[&["gsm8k", "--in", file, "--json"], extra].concat()).json();
        let rejects =
            DataSet::open(out["path"].as_str().expect("a path")).and_then(|d| d.rejects()).expect("a data set");
        let reason = rejects.map(|d| d.read_all::<rasft_data::RejectRow>().expect("rejects")[0].reason.clone());
        (out["key"].as_str().expect("a key").to_owned(), reason)
    };
    let skip = ["--on-bad-row", "skip"];
    let ((key_a, reason_a), (key_b, reason_b)) = (key(&a, &skip), key(&b, &skip));
    assert!(
        reason_a.expect("a reject").starts_with("a.jsonl: ") && reason_b.expect("a reject").starts_with("b.jsonl: ")
    );
    assert_ne!(key_a, key_b);
    // Where no name is written, none counts.
    let good = "{\"question\": \"Q\", \"answer\": \"#### 1\"}\n";
    let (a, b) = (bench.write("c.jsonl", good), bench.write("d.jsonl", good));
    assert_eq!(key(&a, &[]), key(&b, &[]));
}
