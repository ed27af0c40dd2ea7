//! The grain of the cache of map stages, through the real binaries: what is added costs itself alone, and the number of
//! shards is only a matter of layout.

mod support;

use rasft_data::DataSet;
use rasft_types::Rollout;
use serde_json::Value;
use std::path::Path;
use support::{Bench, files_below, quickstart_model};

/// A map stage on the first problems of a world, with the units that its dry run leaves.
struct Stage<'a> {
    bench: &'a Bench,
    binary: &'static str,
    args: Vec<String>,
}

impl Stage<'_> {
    fn run(&self, extra: &[&str]) -> Value {
        let args: Vec<&str> = self.args.iter().map(String::as_str).chain(extra.iter().copied()).collect();
        self.bench.run(self.binary, &[&args[..], &["--json"]].concat()).json()
    }

    fn left(&self, extra: &[&str]) -> u64 {
        let look = self.run(&[extra, &["--dry-run"]].concat());
        // An evaluation counts samples, one for each problem here.
        let left = if self.binary == "rasft-eval" { "samples_left" } else { "units_left" };
        look["summary"][left].as_u64().unwrap_or_else(|| panic!("not a miss: {look}"))
    }

    /// Every Parquet file of the result.
    fn bytes(&self) -> Vec<Vec<u8>> {
        tables(self.run(&[])["path"].as_str().expect("a path"))
    }
}

fn tables(dir: &str) -> Vec<Vec<u8>> {
    let parquet = |(path, bytes): (std::path::PathBuf, Vec<u8>)| (path.extension()? == "parquet").then_some(bytes);
    files_below(Path::new(dir)).into_iter().filter_map(parquet).collect()
}

fn stages(bench: &Bench, rows: usize) -> Vec<Stage<'_>> {
    let model = quickstart_model().display().to_string();
    let p = bench.problems(rows);
    let sampling = ["--n", "2", "--max-new-tokens", "8", "--system-prompt", ""];
    let rollout = [&["--problems", &p, "--model", &model], &sampling[..]].concat();
    let r = bench.ok("rasft-rollout", &rollout);
    let named = format!("b={p}");
    let stage = |binary, args: &[&str]| Stage { bench, binary, args: args.iter().map(ToString::to_string).collect() };
    vec![
        stage("rasft-verify", &["--rollouts", &r, "--problems", &p]),
        stage("rasft-score", &["difficulty", "--problems", &p, "--model", &model, "--system-prompt", ""]),
        stage("rasft-eval", &["run", "--model", &model, "--bench", &named, "--max-new-tokens", "8"]),
    ]
}

#[test]
fn added_problems_cost_themselves_alone() {
    let (grown, fresh) = (Bench::new(), Bench::new());
    for stage in stages(&grown, 6) {
        assert_eq!(stage.left(&[]), 6, "{}", stage.binary);
        stage.run(&[]);
    }
    for (stage, at_once) in stages(&grown, 9).iter().zip(stages(&fresh, 9)) {
        assert_eq!(stage.left(&[]), 3, "{}", stage.binary);
        assert_eq!(stage.bytes(), at_once.bytes(), "{}: bytes do not tell how the blocks came together", stage.binary);
    }
    assert_eq!(grown.run("rasft-store", &["verify"]).code, 0);
}

#[test]
fn another_number_of_shards_costs_no_computation() {
    let bench = Bench::new();
    for stage in stages(&bench, 7) {
        let whole = stage.run(&[]);
        for shards in ["1", "2", "3", "9"] {
            if stage.args[0] == "difficulty" {
                assert_eq!(stage.left(&["--shards", shards]), 0);
            }
            let cut = stage.run(&["--shards", shards]);
            assert_eq!(cut["rows"], whole["rows"], "{} --shards {shards}", stage.binary);
            let n = tables(cut["path"].as_str().expect("a path")).len();
            let beside = usize::from(stage.binary == "rasft-eval");
            assert_eq!(n, shards.parse::<usize>().expect("a number") + beside, "{}", stage.binary);
            if stage.args[0] != "difficulty" {
                assert_eq!(cut["misses"].as_u64(), Some(0), "{} --shards {shards}", stage.binary);
            }
        }
    }
}

#[test]
fn a_shard_never_ends_inside_a_problem() {
    let bench = Bench::new();
    let model = quickstart_model().display().to_string();
    let p = bench.problems(5);
    let args = ["--problems", &p, "--model", &model, "--n", "3", "--max-new-tokens", "4", "--shards", "3"];
    let r = bench.ok("rasft-rollout", &args);
    let rows = |i: usize| DataSet::open(&r).and_then(|d| d.read_shard::<Rollout>(i)?.all()).expect("a shard");
    // 5 problems in 3 shards: 1, 2 and 2.
    assert_eq!([rows(0).len(), rows(1).len(), rows(2).len()], [3, 6, 6]);
    assert_ne!(rows(0)[2].problem_id, rows(1)[0].problem_id);
    assert_ne!(rows(1)[5].problem_id, rows(2)[0].problem_id);
}

#[test]
fn parts_of_a_cluster_make_the_whole() {
    let (parts, whole) = (Bench::new(), Bench::new());
    for (stage, at_once) in stages(&parts, 8).iter().zip(stages(&whole, 8)) {
        let rows = |i: usize| stage.run(&["--shard", &format!("{i}/3")])["rows"].as_u64().expect("rows");
        let total: u64 = (0..3).map(rows).sum();
        assert_eq!(stage.left(&[]), 0, "{}", stage.binary);
        let made = stage.run(&[]);
        assert_eq!(made["rows"].as_u64(), Some(total), "{}", stage.binary);
        assert_eq!(stage.bytes(), at_once.bytes(), "{}", stage.binary);
    }
}

/// One command for all parts or one for each: the same files.
#[test]
fn a_part_has_the_bytes_of_the_same_part_of_all() {
    let bench = Bench::new();
    for stage in stages(&bench, 8).iter().filter(|stage| stage.args[0] != "difficulty") {
        let part = |extra: &[&str], i: usize| {
            let path = stage.run(extra)["path"].as_str().expect("a path").to_owned();
            std::fs::read(Path::new(&path).join(format!("part-{i:05}.parquet"))).expect("the part")
        };
        for i in 0..3 {
            let alone = part(&["--shard", &format!("{i}/3")], i);
            assert!(alone == part(&["--shards", "3"], i), "{} {i}", stage.binary);
        }
    }
}

#[test]
fn a_damaged_block_is_never_put_into_a_data_set() {
    let bench = Bench::new();
    for stage in stages(&bench, 4) {
        stage.run(&[]);
    }
    for place in ["verify/blocks", "expert-loss/blocks", "samples"] {
        for (path, mut bytes) in files_below(&bench.store().join(place)) {
            if path.extension().is_some_and(|e| e == "parquet") {
                let at = bytes.len() / 2;
                bytes[at] ^= 1;
                // A new file: its hard links elsewhere stay whole.
                std::fs::remove_file(&path).and_then(|()| std::fs::write(&path, &bytes)).expect("damage");
            }
        }
    }
    for stage in stages(&bench, 4) {
        let args: Vec<&str> = stage.args.iter().map(String::as_str).chain(["--shards", "2"]).collect();
        let ran = bench.run(stage.binary, &args);
        assert!(ran.code == 4 && ran.stderr.contains("blake3"), "{} {:?}: {}", stage.binary, args, ran.stderr);
    }
}
