//! Flags and configuration that do not fit.

use crate::support::{Bench, quickstart_model};
use crate::{Case, args};

pub fn cases(bench: &Bench) -> Vec<Case> {
    let problems = bench.problems(2);
    let model = quickstart_model().display().to_string();
    let unknown_key = bench.write("key.toml", "[rollout]\ntemprature = 0.5\n");
    let unknown_table = bench.write("table.toml", "[rollouts]\nn = 1\n");
    let not_finite = bench.write("nan.toml", "[rollout]\ntemperature = nan\n");
    let wrong_type = bench.write("type.toml", "[rollout]\nn = \"many\"\n");
    let not_toml = bench.write("broken.toml", "[rollout\n");
    let base = |extra: &[&str]| {
        let mut list = args(&["--problems", &problems, "--model", &model]);
        list.extend(args(extra));
        list
    };
    vec![
        Case {
            name: "shard out of range",
            binary: "rasft-rollout",
            args: base(&["--shard", "5/4"]),
            code: 2,
            says: &["5/4", "0 <= I < N"],
        },
        Case {
            name: "unknown config key",
            binary: "rasft-rollout",
            args: base(&["--config", &unknown_key]),
            code: 2,
            says: &["key.toml", "temprature", "did you mean \"temperature\""],
        },
        Case {
            name: "unknown config table",
            binary: "rasft-rollout",
            args: base(&["--config", &unknown_table]),
            code: 2,
            says: &["rollouts", "did you mean \"rollout\""],
        },
        Case {
            name: "wrong type in config",
            binary: "rasft-rollout",
            args: base(&["--config", &wrong_type]),
            code: 2,
            says: &["type.toml", "\"n\""],
        },
        Case {
            name: "no number in config",
            binary: "rasft-rollout",
            args: base(&["--config", &not_finite]),
            code: 2,
            says: &["nan.toml", "rollout.temperature", "NaN", "a finite number"],
        },
        Case {
            name: "broken config",
            binary: "rasft-rollout",
            args: base(&["--config", &not_toml]),
            code: 2,
            says: &["broken.toml", "TOML"],
        },
        Case {
            name: "unknown flag",
            binary: "rasft-rollout",
            args: base(&["--temprature", "1"]),
            code: 2,
            says: &["temperature"],
        },
        Case {
            name: "missing input flag",
            binary: "rasft-rollout",
            args: args(&["--model", &model]),
            code: 2,
            says: &["--problems"],
        },
        Case {
            name: "temperature below zero",
            binary: "rasft-rollout",
            args: base(&["--temperature=-1"]),
            code: 2,
            says: &["temperature"],
        },
        Case {
            name: "unknown objective",
            binary: "rasft-train",
            args: args(&["--mixture", &problems, "--model", &model, "--objective", "ppo"]),
            code: 2,
            says: &["ppo", "rasft"],
        },
        Case {
            name: "batch of nothing",
            binary: "rasft-rollout",
            args: base(&["--batch-size", "0"]),
            code: 2,
            says: &["--batch-size"],
        },
        Case {
            name: "zero threads",
            binary: "rasft-rollout",
            args: base(&["--jobs", "0"]),
            code: 2,
            says: &["--jobs"],
        },
        Case {
            name: "unknown profile",
            binary: "rasft-score",
            args: args(&[
                "solvability",
                "--problems",
                &problems,
                "--rollouts",
                &problems,
                "--verdicts",
                &problems,
                "--profile",
                "best",
            ]),
            code: 2,
            says: &["reference", "calibrated"],
        },
    ]
}
