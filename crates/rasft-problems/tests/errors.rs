//! Files that are wrong, and what is said of them.

use flate2::Compression;
use flate2::write::GzEncoder;
use rasft_problems::{BadRows, Class, ColumnMap, Format, ImportOptions, ProblemsError, import};
use std::io::Write;
use std::path::PathBuf;
use tempfile::TempDir;

fn file(dir: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).expect("a temporary file");
    path
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).expect("memory")
}

fn failure(format: Format, bytes: &[u8]) -> ProblemsError {
    let dir = TempDir::new().expect("a directory");
    import(&[file(&dir, "f.jsonl", bytes)], &ImportOptions::new(format)).expect_err("a wrong file")
}

#[test]
fn rows_that_are_no_problems() {
    // Format, file, line, what the message says (field, expected, found).
    let good = "{\"question\": \"Q\", \"answer\": \"a\\n#### 1\"}\n";
    let long = format!("{good}\n{good}{{\"question\": \"Q2\"}}\n");
    let table: Vec<(Format, &str, u64, &[&str])> = vec![
        (Format::Gsm8k, &long, 4, &["field \"answer\"", "expected a string", "found the fields question", "hint: "]),
        (
            Format::Gsm8k,
            "{\"question\": \"Q\", \"answer\": \"5\"}",
            1,
            &["`#### gold`", "no `####`", "use the format `math`"],
        ),
        (Format::Gsm8k, "{\"question\": \"Q\", \"answer\": \"x ####  \"}", 1, &["nothing after"]),
        (Format::Gsm8k, "{\"question\": \" \", \"answer\": \"#### 1\"}", 1, &["field \"question\"", "blank"]),
        (Format::Gsm8k, "{\"question\": 5, \"answer\": \"#### 1\"}", 1, &["expected a string, found a number 5"]),
        (Format::Gsm8k, "\n\n{\"question\": \n", 3, &["record: expected a JSON object, found no JSON"]),
        (Format::Gsm8k, "\"text\"", 1, &["found a string"]),
        (Format::Gsm8k, "[\n {\"question\": \"Q\", \"answer\": \"#### 1\"},\n\n 7]", 4, &["found a number"]),
        (Format::Math, "{\"text\": \"Q\"}", 1, &["problem, question, input", "the fields text"]),
        (Format::Math, "{\"problem\": \"Q\", \"solution\": \"no box\"}", 1, &["answer, final_answer", "\\boxed"]),
        (Format::Math, "{\"problem\": \"Q\", \"answer\": {\"a\": 1}}", 1, &["found an object {\"a\":1}", "dots"]),
        (
            Format::Math,
            "{\"problem\": \"Q\", \"solution\": [1], \"answer\": 1}",
            1,
            &["a list of strings", "a number 1"],
        ),
        (Format::Numina, "{\"problem\": \"Q\"}", 1, &["a solution or an answer"]),
        (Format::HumanEval, "{\"prompt\": \"def f():\", \"test\": \"t\"}", 1, &["field \"entry_point\""]),
        (Format::Mbpp, "{\"text\": \"T\", \"code\": \"c\", \"test_list\": []}", 1, &["at least one test"]),
        (Format::KodCode, "{\"question\": \"Q\", \"solution\": \"s\"}", 1, &["field \"test_code\""]),
        (Format::Jsonl, "{}", 1, &["field \"prompt\"", "found no field at all", "--map"]),
        (Format::Jsonl, "{\"prompt\": \"P\"}", 1, &["an answer or an expert response"]),
        (Format::Jsonl, "{\"prompt\": \"P\", \"answer\": 1, \"domain\": \"law\"}", 1, &["`math` or `code`", "\"law\""]),
        (Format::Jsonl, "{\"prompt\": \"P\", \"domain\": \"code\"}", 1, &["tests for a code problem"]),
        (Format::Jsonl, "{\"prompt\": \"P\", \"tests\": [\"t\"], \"prompt_is_prefix\": 1}", 1, &["true or false"]),
    ];
    for (format, text, line, says) in table {
        let error = failure(format, text.as_bytes());
        let message = error.to_string();
        assert_eq!(error.class(), Class::BadInput, "{message}");
        assert!(message.contains(&format!("f.jsonl:{line}: ")), "{text}\n{message}");
        assert!(message.contains("\nhint: ") && message.contains("--on-bad-row skip"), "{message}");
        for part in says {
            assert!(message.contains(part), "{text}\n{message}\nlacks {part:?}");
        }
    }
}

#[test]
fn files_that_hold_no_records() {
    let gz = gzip(b"{\"question\": \"Q\"}\n");
    let zst = zstd(b"{\"question\": \"Q\"}\n");
    let mut flipped = gzip(&b"{\"question\": \"Q\", \"answer\": \"#### 1\"}\n".repeat(100));
    let checksum = flipped.len() - 6;
    flipped[checksum] ^= 1;
    let table: Vec<(&[u8], Class, &str)> = vec![
        (b"", Class::BadInput, "holds no record"),
        (b" \n\t\n", Class::BadInput, "holds no record"),
        (b"[{\"question\": \"Q\"}", Class::BadInput, "is no JSON array"),
        (b"PAR1....", Class::BadInput, "is a Parquet file"),
        (b"PK\x03\x04....", Class::BadInput, "is a zip file"),
        (b"[\"\xff\"]", Class::BadInput, "not UTF-8"),
        (b"{\"question\": \"\xff\"}", Class::BadInput, "bytes that are not UTF-8"),
        (&gz[..gz.len() - 9], Class::Corrupt, "damaged gzip"),
        (&flipped, Class::Corrupt, "damaged gzip"),
        (&zst[..zst.len() - 3], Class::Corrupt, "damaged zstd"),
    ];
    for (bytes, class, says) in table {
        let error = failure(Format::Gsm8k, bytes);
        let message = error.to_string();
        assert_eq!(error.class(), class, "{message}");
        assert!(message.contains(says) && message.contains("f.jsonl") && message.contains("\nhint: "), "{message}");
    }
    // Damage behind the last row that is wanted is damage too.
    let dir = TempDir::new().expect("a directory");
    let one = ImportOptions { limit: Some(1), ..ImportOptions::new(Format::Gsm8k) };
    let error = import(&[file(&dir, "f.gz", &flipped)], &one).expect_err("damaged");
    assert_eq!(error.class(), Class::Corrupt);
    let error = import(&["/nowhere/x.jsonl".into()], &ImportOptions::new(Format::Math)).unwrap_err();
    assert_eq!(error.class(), Class::Io);
    assert!(error.to_string().contains("/nowhere/x.jsonl") && error.to_string().contains("hint: check the spelling"));
}

#[test]
fn skipped_rows_are_listed_and_repeats_counted() {
    let dir = TempDir::new().expect("a directory");
    let text = "{\"question\": \"Q\", \"answer\": \"s\\n#### 1\"}\nnot json\n\n{\"question\": \"R\"}\n\
        {\"question\": \"Q\", \"answer\": \"other words\\n#### 1\"}\n{\"question\": \"Q\", \"answer\": \"s\\n#### 2\"}\n";
    let path = file(&dir, "f.jsonl", text.as_bytes());
    let options = ImportOptions { bad_rows: BadRows::Skip, ..ImportOptions::new(Format::Gsm8k) };
    let got = import(&[path.clone(), path.clone()], &options).expect("bad rows are skipped");
    assert_eq!((got.n_in, got.problems.len(), got.repeated.len(), got.rejects.len()), (10, 2, 4, 4));
    let places: Vec<(u64, &str)> = got.rejects.iter().take(2).map(|r| (r.source_row, r.raw.as_str())).collect();
    assert_eq!(places, [(2, "not json"), (4, "{\"question\": \"R\"}")]);
    assert!(got.rejects[0].reason.starts_with("expected a JSON object, found no JSON"), "{}", got.rejects[0].reason);
    assert!(got.rejects[1].reason.starts_with("field \"answer\": expected a string"), "{}", got.rejects[1].reason);
    assert_eq!((got.repeated[0].source_row, &got.repeated[0].source_file), (5, &path));
    assert_eq!(got.repeated[0].problem_id, got.problems[0].problem_id);
    // What lies behind the limit is counted, blank lines left out, in every file.
    let one = ImportOptions { limit: Some(1), ..options.clone() };
    let first = import(&[path.clone(), path.clone()], &one).expect("the first record is good");
    assert_eq!((first.n_in, first.problems.len(), first.n_beyond_limit), (10, 1, 9));
    // The sample is taken of what the skip leaves.
    let second = ImportOptions { skip: 1, sample: Some(1), ..options };
    let rest = import(std::slice::from_ref(&path), &second).expect("two problems");
    assert_eq!((rest.problems.as_slice(), rest.n_skipped, rest.n_unsampled), (&got.problems[1..], 1, 0));
    assert_eq!(
        got.problems[0].expert_response.as_deref(),
        Some("s\nThe final answer is \\boxed{1}."),
        "the first stays"
    );
}

#[test]
fn packing_and_shape_make_no_difference() {
    let dir = TempDir::new().expect("a directory");
    let records: Vec<String> = (0..500)
        .map(|i| format!("{{\"question\": \"Frage {i} é\", \"answer\": \"s\\n#### {i}\", \"i\": {i}}}"))
        .collect();
    let lines = records.join("\n");
    let array = format!("\u{feff}\n [\n{}\n]\n", records.join(",\n"));
    let two_members = [gzip(&lines.as_bytes()[..9000]), gzip(&lines.as_bytes()[9000..])].concat();
    let two_frames = [zstd(&lines.as_bytes()[..9000]), zstd(&lines.as_bytes()[9000..])].concat();
    let variants: Vec<(&str, Vec<u8>)> = vec![
        ("a.jsonl", lines.clone().into_bytes()),
        ("b.jsonl", lines.replace('\n', "\r\n\r\n").into_bytes()),
        ("c.gz", gzip(lines.as_bytes())),
        ("d.any", zstd(lines.as_bytes())),
        ("e", two_members),
        ("f", two_frames),
        ("g.json", array.clone().into_bytes()),
        ("h.json.gz", gzip(array.as_bytes())),
        ("i.json.zst", zstd(array.as_bytes())),
    ];
    let options = ImportOptions::new(Format::Gsm8k);
    let mut expected = None;
    for (name, bytes) in variants {
        let got = import(&[file(&dir, name, &bytes)], &options).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(got.problems.len(), 500, "{name}");
        let expected = expected.get_or_insert_with(|| got.problems.clone());
        assert_eq!(*expected, got.problems, "{name}");
    }
}

#[test]
fn maps_belong_to_jsonl() {
    let dir = TempDir::new().expect("a directory");
    let path = file(&dir, "f.jsonl", b"{\"q\": \"Q\", \"a\": 3}\n");
    let map = ColumnMap::parse(&["prompt=q", "answer=a"]).expect("a good map");
    let jsonl = ImportOptions { map: map.clone(), source: Some("mine".into()), ..ImportOptions::new(Format::Jsonl) };
    let got = import(std::slice::from_ref(&path), &jsonl).expect("mapped");
    assert_eq!((got.problems[0].source.as_str(), got.problems[0].answer.as_deref()), ("mine", Some("3")));
    let error =
        import(std::slice::from_ref(&path), &ImportOptions { map, ..ImportOptions::new(Format::Math) }).unwrap_err();
    assert_eq!(error.class(), Class::Usage);
    let misspelt = ColumnMap::parse(&["prompt=q", "answer=b"]).expect("a good map");
    let error = import(&[path], &ImportOptions { map: misspelt, ..ImportOptions::new(Format::Jsonl) }).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("field \"b\": expected the field that --map gives for answer, found the fields a, q"),
        "{error}"
    );
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300), format in 0usize..7, head in 0usize..5) {
        let dir = TempDir::new().expect("a directory");
        let head: &[u8] = [&b""[..], b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"[", b"{\""][head];
        let path = file(&dir, "f", &[head, &bytes].concat());
        let options = ImportOptions { bad_rows: BadRows::Skip, ..ImportOptions::new(Format::ALL[format]) };
        if let Ok(got) = import(&[path], &options) {
            proptest::prop_assert_eq!(got.n_in as usize, got.problems.len() + got.repeated.len() + got.rejects.len());
        }
    }

    #[test]
    fn no_record_panics(
        keys in proptest::collection::btree_set("problem|question|answer|solution|test|text|prompt|code|test_list|messages|Body|Question|context|meta|tests|test_info", 0..6),
        values in proptest::collection::vec("\"[^\"\\\\\\x00-\\x1f]{0,40}\"|[0-9]{1,20}|null|\\[\"x\"\\]|\\{\"role\": 1\\}|\\[\\{\"role\": \"user\"\\}\\]|\"def test_a\\(\\): pass\"", 6),
        format in 0usize..7,
    ) {
        let dir = TempDir::new().expect("a directory");
        let fields: Vec<String> = keys.iter().zip(&values).map(|(k, v)| format!("\"{k}\": {v}")).collect();
        let path = file(&dir, "f", format!("{{{}}}", fields.join(", ")).as_bytes());
        let options = ImportOptions { bad_rows: BadRows::Skip, ..ImportOptions::new(Format::ALL[format]) };
        let got = import(&[path], &options).expect("one record, good or skipped");
        proptest::prop_assert_eq!((got.n_in, got.problems.len() + got.rejects.len()), (1, 1));
        for problem in &got.problems {
            proptest::prop_assert!(!problem.prompt.trim().is_empty());
        }
    }
}
