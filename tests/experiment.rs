//! `pipelines/run.sh` on a small experiment: the loop that users run, the queries that the README gives for its tables,
//! and what a second run costs.

mod support;

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Instant;
use support::{Bench, bin, files_below, python, quickstart_model, root};

fn config(bench: &Bench) -> String {
    let model = quickstart_model().display().to_string();
    let text = format!(
        r#"
[pipeline]
name = "quickstart"
model = "{model}"
rounds = 2
problems_per_round = 16
steps_per_round = 1
bench_name = "synthetic"
[import]
format = "synthetic"
levels = "1..2"
[import.train]
first_row = 100000
rows = 32
split = "train"
[import.test]
rows = 8
split = "held-out"
[score]
system_prompt = ""
max_length = 512
main_rollout_ratio = 1.0
[rollout]
system_prompt = ""
n = 2
repetition_penalty = 1.0
max_new_tokens = 200
max_length = 512
[verify]
max_length = 512
[train]
batch_size = 8
[eval]
system_prompt = ""
n = 2
temperature = 0.7
max_new_tokens = 200
"#
    );
    bench.write("quickstart.toml", text)
}

fn run(bench: &Bench, config: &str) -> Output {
    let bins = PathBuf::from(bin("rasft-store")).parent().expect("a folder").to_owned();
    let mut command = Command::new("bash");
    command.arg(root().join("pipelines/run.sh")).arg(config).current_dir(bench.path(""));
    command.env("RASFT_BIN", bins).env("RASFT_STORE", bench.store()).env("RASFT_LOG", "warn,rasft=debug");
    command.output().expect("bash")
}

/// The SQL statements of the README, comments left out.
fn queries() -> Vec<String> {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("README.md");
    let sql = readme.split("```sql").nth(1).and_then(|rest| rest.split("```").next()).expect("a block of SQL");
    let statements: String =
        sql.lines().filter(|l| !l.trim_start().starts_with("--")).map(|l| format!("{l}\n")).collect();
    statements.split(';').map(str::trim).filter(|q| !q.is_empty()).map(str::to_owned).collect()
}

const SCRIPT: &str = r#"
import sys, duckdb
for query in sys.argv[1:]:
    print(len(duckdb.sql(query).fetchall()))
"#;

#[test]
fn the_loop_runs_its_tables_answer_and_a_second_run_does_nothing() {
    let bench = Bench::new();
    let config = config(&bench);
    let cold = run(&bench, &config);
    let said = String::from_utf8_lossy(&cold.stderr).into_owned();
    assert!(cold.status.success(), "{said}");
    assert!(said.contains("loading weights"), "a cold run loads the model\n{said}");

    let state = || {
        let stamped = |(path, bytes): (PathBuf, Vec<u8>)| {
            let modified = std::fs::metadata(&path).and_then(|m| m.modified()).expect("a time");
            (path, bytes, modified)
        };
        let of = |dir: &str| files_below(&bench.path(dir)).into_iter().map(stamped).collect::<Vec<_>>();
        // The HTML page is no result of the store; it is written anew, to the same bytes.
        (of("store"), of("out").into_iter().filter(|(p, ..)| !p.ends_with("report.html")).collect::<Vec<_>>())
    };
    let before = state();
    let page = std::fs::read(bench.path("out/quickstart/report.html")).expect("the report");
    let started = Instant::now();
    let warm = run(&bench, &config);
    let (said, seconds) = (String::from_utf8_lossy(&warm.stderr).into_owned(), started.elapsed().as_secs_f64());
    assert!(warm.status.success(), "{said}");
    assert!(state() == before, "a warm run changed the store or a view of it");
    assert_eq!(std::fs::read(bench.path("out/quickstart/report.html")).expect("the report"), page);
    assert!(!said.contains("computed") && !said.contains("loading weights"), "{said}");
    println!("warm run: {seconds:.2} s");

    let queries = queries();
    assert_eq!(queries.len(), 5, "{queries:?}");
    let Some(python) = python() else { return };
    let out =
        Command::new(python).args(["-c", SCRIPT]).args(&queries).current_dir(bench.path("")).output().expect("python");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let rows: Vec<u32> = String::from_utf8_lossy(&out.stdout).lines().map(|l| l.parse().expect("a count")).collect();
    // Solvability, the correlation and the weights have rows whatever the model did; the other two may find nothing.
    assert!(rows.len() == 5 && rows[0] > 0 && rows[2] == 1 && rows[3] >= 2, "{rows:?}");
}

#[test]
fn a_misspelt_key_stops_an_experiment_before_it_begins() {
    let bench = Bench::new();
    let good = std::fs::read_to_string(config(&bench)).expect("the file");
    for (from, to, says) in [
        ("problems_per_round", "problem_per_round", "did you mean \"problems_per_round\"?"),
        ("[eval]", "[eval]\nmax_new_token = 5", "did you mean \"max_new_tokens\"?"),
        ("rows = 8", "row = 8", "did you mean \"rows\"?"),
        ("batch_size = 8", "batch_size = \"eight\"", "\"batch_size\" = \"eight\""),
        ("rounds = 2", "rounds = 0", "rounds is 0, expected a whole number from 1 on"),
        ("rounds = 2", "rounds = \"three\"", "rounds is three, expected"),
        ("[train]", "[trian]", "did you mean \"train\"?"),
    ] {
        let broken = bench.write("broken.toml", good.replacen(from, to, 1));
        let ran = run(&bench, &broken);
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.code() == Some(2) && said.contains(says), "{to}: {said}");
        assert!(said.contains("broken.toml") && !bench.path("out").exists(), "{to}: {said}");
    }
}

/// Every key that the script asks for is one that a file may have.
#[test]
fn the_script_and_the_check_know_the_same_keys() {
    let script = std::fs::read_to_string(root().join("pipelines/run.sh")).expect("run.sh");
    let asked = script.split("$(cfg ").skip(1).filter_map(|rest| rest.split([' ', ')']).next());
    let bench = Bench::new();
    for key in asked {
        let file = bench.write("k.toml", format!("[pipeline]\n{key} = 1\n"));
        assert_eq!(bench.run("rasft-store", &["config", &file]).code, 0, "{key}");
    }
}
