//! Tables and foreign files that cannot be used.

use crate::support::{Bench, quickstart_model, strings_table};
use crate::{Case, args};

pub fn cases(bench: &Bench) -> Vec<Case> {
    let problems = bench.problems(4);
    let model = quickstart_model().display().to_string();
    let malformed =
        bench.write("bad.jsonl", "{\"question\": \"1+1?\", \"answer\": \"2\"}\n{\"question\": \"2+2?\", \n");
    let missing_field = bench.write("field.jsonl", "{\"q\": \"1+1?\", \"answer\": \"2 #### 2\"}\n");
    let text = bench.write("table.parquet", "not parquet at all");
    let good = std::fs::read(std::path::Path::new(&problems).join("part-00000.parquet")).expect("shard");
    let truncated = bench.write("cut.parquet", &good[..good.len() / 2]);
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    bench.write("flipped/part-00000.parquet", &flipped);
    let manifest = std::fs::read(std::path::Path::new(&problems).join("_manifest.json")).expect("manifest");
    bench.write("flipped/_manifest.json", manifest);
    let flipped = bench.path("flipped").display().to_string();
    let foreign = strings_table(&bench.path("foreign.parquet"), &[("response", vec!["1", "2"])]);
    let empty_dir = bench.path("nothing");
    std::fs::create_dir_all(&empty_dir).expect("folder");
    let empty_file = bench.write("empty.jsonl", "");
    let empty_dir = empty_dir.display().to_string();
    vec![
        Case {
            name: "malformed JSON line",
            binary: "rasft-import",
            args: args(&["gsm8k", "--in", &malformed]),
            code: 3,
            says: &["bad.jsonl", "2"],
        },
        Case {
            name: "missing field",
            binary: "rasft-import",
            args: args(&["gsm8k", "--in", &missing_field]),
            code: 3,
            says: &["field.jsonl", "question"],
        },
        Case {
            name: "empty source",
            binary: "rasft-import",
            args: args(&["gsm8k", "--in", &empty_file]),
            code: 3,
            says: &["empty.jsonl"],
        },
        Case {
            name: "unknown format",
            binary: "rasft-import",
            args: args(&["gsm9k", "--in", &empty_file]),
            code: 2,
            says: &["gsm9k", "gsm8k"],
        },
        Case {
            name: "no such file",
            binary: "rasft-import",
            args: args(&["gsm8k", "--in", "absent.jsonl"]),
            code: 3,
            says: &["absent.jsonl"],
        },
        Case {
            name: "not parquet",
            binary: "rasft-rollout",
            args: args(&["--problems", &text, "--model", &model]),
            code: 3,
            says: &["table.parquet", "not a Parquet file"],
        },
        Case {
            name: "truncated parquet",
            binary: "rasft-rollout",
            args: args(&["--problems", &truncated, "--model", &model]),
            code: 4,
            says: &["cut.parquet"],
        },
        Case {
            name: "flipped bit",
            binary: "rasft-rollout",
            args: args(&["--problems", &flipped, "--model", &model]),
            code: 4,
            says: &["part-00000.parquet", "expected", "actual"],
        },
        Case {
            name: "empty data set",
            binary: "rasft-rollout",
            args: args(&["--problems", &empty_dir, "--model", &model]),
            code: 3,
            says: &["holds no Parquet file"],
        },
        Case {
            name: "wrong table",
            binary: "rasft-verify",
            args: args(&["--rollouts", &problems, "--problems", &problems]),
            code: 3,
            says: &["\"problems\"", "\"rollouts\""],
        },
        Case {
            name: "missing column",
            binary: "rasft-verify",
            args: args(&["--pairs", &foreign]),
            code: 3,
            says: &["\"gold\"", "missing", "foreign.parquet"],
        },
    ]
}
