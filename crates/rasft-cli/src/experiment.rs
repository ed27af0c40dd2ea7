//! What may stand in an experiment file: every table, every key, every type, whichever stage reads it.
//!
//! The whole file is checked by whatever reads it first, so that a misspelt key of the evaluation does not show itself
//! after a night of training.

use crate::Failure;
use crate::args::eval::{CompareArgs, ReportArgs, RunArgs};
use crate::args::import::ImportArgs;
use crate::args::rollout::RolloutArgs;
use crate::args::score::{DifficultyArgs, MixtureArgs, SolvabilityArgs};
use crate::args::train::TrainArgs;
use crate::args::verify::VerifyArgs;
use crate::common::CommonArgs;
use crate::config::{ConfigFile, overlay};
use crate::generated::{common_names, flag_names};
use clap::Args;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Tables an experiment file may have.
const TABLES: &[&str] = &["common", "pipeline", "import", "score", "rollout", "verify", "train", "eval"];

/// Keys of `[pipeline]`, which `pipelines/run.sh` reads.
const PIPELINE: &[&str] =
    &["name", "model", "out", "format_warmup", "rounds", "problems_per_round", "steps_per_round", "bench_name"];

/// The keys that some command understands in a table.
pub fn known_keys(table: &str) -> Vec<String> {
    let mut keys = match table {
        "common" => return common_names(),
        "pipeline" => PIPELINE.iter().map(ToString::to_string).collect(),
        "import" => flag_names::<ImportArgs>(),
        "score" => {
            [flag_names::<DifficultyArgs>(), flag_names::<SolvabilityArgs>(), flag_names::<MixtureArgs>()].concat()
        }
        "rollout" => flag_names::<RolloutArgs>(),
        "verify" => flag_names::<VerifyArgs>(),
        "train" => flag_names::<TrainArgs>(),
        "eval" => [flag_names::<RunArgs>(), flag_names::<CompareArgs>(), flag_names::<ReportArgs>()].concat(),
        _ => Vec::new(),
    };
    keys.sort();
    keys.dedup();
    keys
}

/// Refuses unknown tables and keys, and values of another type.
///
/// # Errors
/// Names file, table and key, and the nearest that is known.
pub fn check(file: &ConfigFile) -> Result<(), Failure> {
    file.check_tables(TABLES)?;
    file.table("pipeline", None, &known_keys("pipeline"))?;
    stage::<CommonArgs>(file, "common")?;
    stage::<ImportArgs>(file, "import")?;
    stage::<DifficultyArgs>(file, "score")?;
    stage::<SolvabilityArgs>(file, "score")?;
    stage::<MixtureArgs>(file, "score")?;
    stage::<RolloutArgs>(file, "rollout")?;
    stage::<VerifyArgs>(file, "verify")?;
    stage::<TrainArgs>(file, "train")?;
    stage::<RunArgs>(file, "eval")?;
    stage::<CompareArgs>(file, "eval")?;
    stage::<ReportArgs>(file, "eval")
}

fn stage<A: Args + Default + Serialize + DeserializeOwned>(file: &ConfigFile, table: &str) -> Result<(), Failure> {
    let known = known_keys(table);
    let origin = file.path().display().to_string();
    let sections = file.sections(table);
    for section in std::iter::once(None).chain(sections.iter().map(|s| Some(s.as_str()))) {
        overlay(&A::default(), file.table(table, section, &known)?, &origin)?;
    }
    Ok(())
}
