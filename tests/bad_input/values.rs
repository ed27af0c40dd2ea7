//! Values out of range.

use crate::support::Bench;
use crate::{Case, args};

/// Values out of range, given to stages whose inputs do not exist: the value is what is complained of, before any work.
pub fn cases(_: &Bench) -> Vec<Case> {
    const MAX: &str = "18446744073709551615";
    let score = ["--problems", "absent", "--model", "absent"];
    let tables = ["--problems", "absent", "--rollouts", "absent", "--verdicts", "absent"];
    let difficulty = |extra: &[&str]| args(&[&["difficulty"], &score[..], extra].concat());
    let solvability = |extra: &[&str]| args(&[&["solvability"], &tables[..], extra].concat());
    let mixture = |extra: &[&str]| args(&[&["mixture", "--for", "sft"], &score[..], extra].concat());
    let rollout = |extra: &[&str]| args(&[&score[..], extra].concat());
    let verify = |extra: &[&str]| args(&[&["--rollouts", "absent", "--problems", "absent"], extra].concat());
    let answer = |extra: &[&str]| args(&[extra, &["answer", "--gold", "1/3", "--response", "0.33"]].concat());
    let eval = |extra: &[&str]| args(&[&["run", "--model", "absent", "--bench", "b=absent"], extra].concat());
    let compare = |extra: &[&str]| args(&[&["compare", "a=absent", "b=absent"], extra].concat());
    let import = |extra: &[&str]| args(&[&["synthetic"], extra].concat());
    let table: Vec<(&'static str, Vec<String>, &'static [&'static str])> = vec![
        ("rasft-score", difficulty(&["--progress-fraction", "1.5"]), &["--progress-fraction 1.5", "from 0 to 1"]),
        (
            "rasft-score",
            difficulty(&["--progress-fraction", "nan"]),
            &["--progress-fraction", "nan", "a finite number"],
        ),
        ("rasft-score", difficulty(&["--main-rollout-ratio=-1"]), &["--main-rollout-ratio -1", "from 0 to 1"]),
        ("rasft-score", difficulty(&["--hard-probe-ratio", "2"]), &["--hard-probe-ratio 2"]),
        ("rasft-score", difficulty(&["--end-high-q", "1.1"]), &["--end-high-q 1.1", "from 0 to 1"]),
        ("rasft-score", difficulty(&["--start-low-q", "0.6"]), &["--start-low-q 0.6", "at most --start-high-q 0.45"]),
        ("rasft-score", difficulty(&["--max-length", "1"]), &["--max-length 1", "at least 2"]),
        ("rasft-score", difficulty(&["--fallback-template", "vicuna"]), &["--fallback-template vicuna", "chatml"]),
        ("rasft-score", difficulty(&["--device", "gpu"]), &["--device", "gpu", "cpu"]),
        ("rasft-score", difficulty(&["--profile", "best"]), &["--profile", "best", "reference"]),
        ("rasft-score", difficulty(&["--slice", "5"]), &["--slice 5", "START:COUNT"]),
        ("rasft-score", difficulty(&["--shards", MAX]), &["--shards 18446744073709551615", "1 to 100000"]),
        ("rasft-score", difficulty(&["--on-bad-row", "skip"]), &["--on-bad-row", "rasft-score difficulty"]),
        ("rasft-score", solvability(&["--adv-alpha", "inf"]), &["--adv-alpha", "inf", "a finite number"]),
        ("rasft-score", solvability(&["--expert-weight-min", "1.5"]), &["--expert-weight-min 1.5", "from 0 to 1"]),
        (
            "rasft-score",
            solvability(&["--expert-reward-min", "4"]),
            &["--expert-reward-min 4", "--expert-reward-max 3"],
        ),
        ("rasft-score", solvability(&["--shard", "0/2"]), &["--shard", "rasft-score solvability"]),
        ("rasft-score", mixture(&["--max-length", "0"]), &["--max-length 0", "at least 2"]),
        ("rasft-score", mixture(&["--on-long", "cut"]), &["--on-long cut", "drop or truncate"]),
        ("rasft-score", args(&[&["mixture", "--for", "ppo"], &score[..]].concat()), &["ppo", "sft"]),
        ("rasft-rollout", rollout(&["--n", "0"]), &["--n 0", "at least 1"]),
        ("rasft-rollout", rollout(&["--top-p", "1.5"]), &["--top-p 1.5", "at most 1"]),
        ("rasft-rollout", rollout(&["--max-new-tokens", "0"]), &["--max-new-tokens 0"]),
        ("rasft-rollout", rollout(&["--shards", "0"]), &["--shards 0", "1 to 100000"]),
        ("rasft-rollout", rollout(&["--shard", "0/18446744073709551615"]), &["--shard", "100000"]),
        ("rasft-rollout", rollout(&["--jobs", MAX]), &["--jobs 18446744073709551615", "1 to 1024"]),
        ("rasft-rollout", rollout(&["--on-bad-row", "skip"]), &["--on-bad-row", "means nothing", "[common]"]),
        ("rasft-rollout", rollout(&["--concurrency", "4"]), &["--concurrency", "--endpoint"]),
        ("rasft-rollout", rollout(&["--timeout", "4"]), &["--timeout", "--endpoint"]),
        ("rasft-rollout", rollout(&["--connect-timeout", "4"]), &["--connect-timeout", "--endpoint"]),
        ("rasft-rollout", rollout(&["--max-retries", "4"]), &["--max-retries", "--endpoint"]),
        ("rasft-rollout", rollout(&["--retry-pause", "4"]), &["--retry-pause", "--endpoint"]),
        ("rasft-verify", verify(&["--base", "m"]), &["--base", "rasft-verify"]),
        ("rasft-import", import(&["--base", "m"]), &["--base", "rasft-import"]),
        ("rasft-score", solvability(&["--base", "m"]), &["--base", "rasft-score solvability"]),
        ("rasft-store", args(&["gc", "--base", "m"]), &["--base", "rasft-store"]),
        ("rasft-verify", verify(&["--max-length", "0"]), &["--max-length 0", "at least 1"]),
        ("rasft-verify", verify(&["--tolerance", "2"]), &["--tolerance \"2\"", "between 0 and 1"]),
        ("rasft-verify", verify(&["--on-bad-row", "skip"]), &["--on-bad-row"]),
        ("rasft-verify", answer(&["--tolerance", "1e-4"]), &["--tolerance", "answer --tolerance 1e-4"]),
        ("rasft-verify", answer(&["--rollouts", "absent"]), &["--rollouts", "before `answer`"]),
        ("rasft-verify", answer(&["--max-length", "9"]), &["--max-length", "before `answer`"]),
        ("rasft-eval", eval(&["--k", "2"]), &["--k 2", "1 to --n 1"]),
        ("rasft-eval", eval(&["--limit", "0"]), &["--limit 0", "at least 1"]),
        ("rasft-eval", eval(&["--min-p", "2"]), &["--min-p 2", "between 0 and 1"]),
        ("rasft-eval", eval(&["--bench", "absent"]), &["--bench absent", "NAME=PATH"]),
        ("rasft-eval", compare(&["--resamples", "0"]), &["--resamples 0", "1 to 10000000"]),
        ("rasft-eval", compare(&["--resamples", "4294967295"]), &["--resamples 4294967295"]),
        ("rasft-eval", compare(&["--shards", "2"]), &["--shards", "rasft-eval compare"]),
        (
            "rasft-train",
            args(&["--mixture", "absent", "--model", "absent", "--shards", "2"]),
            &["--shards", "rasft-train"],
        ),
        ("rasft-import", import(&["--rows", MAX]), &["--rows 18446744073709551615", "1 to 10000000"]),
        ("rasft-import", import(&["--first-row", MAX]), &["--first-row 18446744073709551615"]),
        ("rasft-import", import(&["--sample", "0"]), &["--sample 0", "at least 1"]),
        ("rasft-import", import(&["--limit", "0"]), &["--limit 0", "at least 1"]),
        ("rasft-import", import(&["--levels", "0..3"]), &["--levels", "from 1 to 8"]),
        ("rasft-import", import(&["--themes", "war"]), &["--themes", "war"]),
        ("rasft-import", import(&["--shard", "0/2"]), &["--shard", "rasft-import"]),
        ("rasft-store", args(&["gc", "--apply", "--dry-run"]), &["--dry-run", "rasft-store gc"]),
    ];
    table.into_iter().map(|(binary, args, says)| Case { name: says[0], binary, args, code: 2, says }).collect()
}
