//! `rasft-store explain`: why a look-up missed, field by field of the key.
//!
//! Absent on purpose: how a command's key is made. The command itself is asked, with `--dry-run`.

use crate::{Failure, Session, environment, output, summaries};
use rasft_store::Explained;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};

/// Programs whose results have keys.
const PROGRAMS: [&str; 6] =
    ["rasft-import", "rasft-score", "rasft-rollout", "rasft-verify", "rasft-train", "rasft-eval"];

/// What set an entry apart when it was made.
pub fn entry(found: &Explained, as_json: bool) -> Result<(), Failure> {
    let value = serde_json::to_value(found).map_err(|e| Failure::runtime(format!("cannot write JSON: {e}")))?;
    if as_json {
        return output::line(&value.to_string());
    }
    let head = format!("{} {}", found.place, &found.key.as_str()[..12]);
    match &found.nearest {
        None => output::line(&format!("{head}: the first result of its stage")),
        Some(nearest) if nearest.differences.is_empty() => output::line(&format!("{head}: the same result")),
        Some(_) => output::line(&format!("{head}\n{}", summaries::nearest(&value))),
    }
}

/// Whether a command would find its result and, if not, why: its own dry run.
pub fn command(session: &Session, words: &[String]) -> Result<(), Failure> {
    let program = &words[0];
    let name = Path::new(program).file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    if !PROGRAMS.contains(&name.as_str()) {
        let known = PROGRAMS.join(", ");
        return Err(Failure::usage(format!(
            "explain -- {program}: expected the command of a stage\nhint: one of {known}"
        )));
    }
    let mut command = Command::new(environment::sibling(program));
    let given = |flag: &str| words.iter().any(|word| word == flag || word.starts_with(&format!("{flag}=")));
    command.args(&words[1..]).args(["--dry-run", "--json", "--quiet"].iter().filter(|flag| !given(flag)));
    if let Some(store) = session.common.store.as_ref().filter(|_| !given("--store")) {
        command.arg("--store").arg(store);
    }
    let ran = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let ran = ran.map_err(|e| Failure::runtime(format!("cannot run {program}: {e}")))?;
    if !ran.status.success() {
        let code =
            ran.status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(crate::failure::exit_code::RUNTIME);
        return Err(Failure { code, message: format!("{name} cannot say what it would do") });
    }
    let found: Value = serde_json::from_slice(&ran.stdout)
        .map_err(|e| Failure::runtime(format!("{name} --dry-run --json printed something else: {e}")))?;
    if session.common.json.unwrap_or(false) {
        return output::line(&found.to_string());
    }
    output::line(
        &answer(&found).ok_or_else(|| Failure::usage(format!("the result of `{}` has no key", words.join(" "))))?,
    )
}

/// A dry run's object for people.
fn answer(found: &Value) -> Option<String> {
    let text = |field: &str| found[field].as_str();
    let head = format!("{} {}", text("stage")?, text("key")?.get(..12)?);
    if found["hit"].as_bool()? {
        return Some(format!("{head}: there, {}", text("path")?));
    }
    let (hits, misses) = (found["hits"].as_u64()?, found["misses"].as_u64()?);
    let missed = format!("{head}: not there; {misses} of {} blocks to compute", hits + misses);
    Some(match summaries::nearest(&found["summary"]) {
        nearest if nearest.is_empty() => format!("{missed}\n  no other result of this stage to compare with"),
        nearest => format!("{missed}\n{nearest}"),
    })
}
