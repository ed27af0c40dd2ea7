//! Every table opens in DuckDB and in Python's polars with the rows that its manifest states.

mod support;

use std::process::Command;
use support::{Bench, python, quickstart_model, strings_table};

const SCRIPT: &str = r#"
import glob, json, os, sys
import duckdb, polars
seen = set()
def read(files, rows, what):
    frame = polars.read_parquet(files)
    assert frame.height == rows, (what, frame.height, rows)
    relation = duckdb.sql(f"select * from read_parquet({files!r})")
    assert relation.columns == frame.columns, (what, relation.columns, frame.columns)
    assert len(relation.fetchall()) == rows, (what, rows)
    schema = {k.decode(): v.decode() for k, v in duckdb.sql(
        f"select key, value from parquet_kv_metadata({files[:1]!r})").fetchall()}
    seen.add(schema["rasft.schema"].split("/")[0])
for manifest in glob.glob(os.path.join(sys.argv[1], "*", "**", "_manifest.json"), recursive=True):
    with open(manifest) as f:
        m = json.load(f)
    here = os.path.dirname(manifest)
    if m["shards"]:
        read([os.path.join(here, s["file"]) for s in m["shards"]], sum(s["rows"] for s in m["shards"]), manifest)
    for beside in m["files"]:
        if beside["file"].endswith(".parquet"):
            path = os.path.join(here, beside["file"])
            read([path], duckdb.sql(f"select num_rows from parquet_file_metadata('{path}')").fetchall()[0][0], path)
print(" ".join(sorted(seen)))
"#;

#[test]
fn duckdb_and_polars_read_every_table() {
    let Some(python) = python() else { return };
    let bench = Bench::new();
    let model = quickstart_model().display().to_string();
    let p = bench.problems(4);
    let d = bench.ok("rasft-score", &["difficulty", "--problems", &p, "--model", &model]);
    let r = bench.ok("rasft-rollout", &["--problems", &p, "--model", &model, "--n", "2", "--max-new-tokens", "8"]);
    let v = bench.ok("rasft-verify", &["--rollouts", &r, "--problems", &p]);
    let tables = ["--problems", &p, "--rollouts", &r, "--verdicts", &v];
    let s = bench.ok("rasft-score", &[&["solvability"], &tables[..]].concat());
    let rest = ["--solvability", &s, "--model", &model, "--reference", &model, "--difficulty", &d];
    let m = bench.ok("rasft-score", &[&["mixture"], &tables[..], &rest[..]].concat());
    bench.ok("rasft-train", &["--mixture", &m, "--model", &model, "--steps", "2", "--batch-size", "2"]);
    let named = format!("b={p}");
    let eval = ["run", "--model", &model, "--bench", &named, "--max-new-tokens", "8"];
    let (a, b) = (bench.ok("rasft-eval", &eval), bench.ok("rasft-eval", &[&eval[..], &["--seed", "7"]].concat()));
    bench.ok("rasft-eval", &["compare", &format!("a={a}"), &format!("b={b}")]);
    let jsonl = bench.write("rows.jsonl", "{\"question\": \"Q\", \"answer\": \"#### 1\"}\nno record\n");
    bench.ok("rasft-import", &["gsm8k", "--in", &jsonl, "--on-bad-row", "skip"]);
    let pairs = [("gold", vec!["1"]), ("response", vec!["so it is \\boxed{1}"])];
    bench.ok("rasft-verify", &["--pairs", &strings_table(&bench.path("pairs.parquet"), &pairs)]);

    let out = Command::new(python).args(["-c", SCRIPT]).arg(bench.store()).output().expect("python runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let seen = String::from_utf8_lossy(&out.stdout).trim().to_owned();
    let mut tables: Vec<String> = rasft_data::schema_json().iter().map(|s| s.name.to_owned()).collect();
    // Pairs are what users bring.
    tables.retain(|name| name != "pairs");
    tables.sort();
    assert_eq!(seen, tables.join(" "));
}
