//! Every table opens in DuckDB and in Python's polars with the rows that its manifest states.

mod support;

use std::path::PathBuf;
use std::process::Command;
use support::{Bench, quickstart_model, root};

const SCRIPT: &str = r#"
import glob, json, os, sys
import duckdb, polars
n = 0
for manifest in glob.glob(os.path.join(sys.argv[1], "*", "*", "_manifest.json")):
    with open(manifest) as f:
        m = json.load(f)
    if not m["shards"]:
        continue
    files = [os.path.join(os.path.dirname(manifest), s["file"]) for s in m["shards"]]
    rows = sum(s["rows"] for s in m["shards"])
    frame = polars.read_parquet(files)
    assert frame.height == rows, (manifest, frame.height, rows)
    counted = duckdb.sql(f"select count(*) from read_parquet({files!r})").fetchall()[0][0]
    assert counted == rows, (manifest, counted, rows)
    duckdb.sql(f"select * from read_parquet({files!r})").fetchall()
    n += 1
print(n)
"#;

/// The interpreter that `make python` prepared.
fn python() -> Option<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let python = target.join("python/venv/bin/python");
    let usable = Command::new(&python).args(["-c", "import duckdb, polars"]).output().is_ok_and(|o| o.status.success());
    if !usable {
        eprintln!("skipped: no Python with duckdb and polars (`make python` prepares one)");
    }
    usable.then_some(python)
}

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
    bench.ok(
        "rasft-score",
        &[&["mixture"], &tables[..], &["--solvability", &s, "--model", &model, "--difficulty", &d]].concat(),
    );
    bench.ok("rasft-eval", &["run", "--model", &model, "--bench", &format!("b={p}"), "--max-new-tokens", "8"]);
    let out = Command::new(python).args(["-c", SCRIPT]).arg(bench.store()).output().expect("python runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let n: u32 = String::from_utf8_lossy(&out.stdout).trim().parse().expect("a count");
    assert_eq!(n, 7, "problems, difficulty, rollouts, verdicts, solvability, mixture, eval samples");
}
