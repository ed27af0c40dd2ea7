//! `rasft-verify answer`: one verdict with its reason.

use crate::args::verify::{AnswerArgs, PolicyArgs};
use crate::{Failure, output};
use rasft_verify::judge_pair;

/// Judges one answer by `policy` and prints the verdict on one line: words for people, or JSON.
pub fn run(args: &AnswerArgs, policy: &PolicyArgs, as_json: bool) -> Result<(), Failure> {
    let response = match (&args.response, &args.response_file) {
        (Some(text), _) => text.clone(),
        (None, Some(path)) => std::fs::read_to_string(path)
            .map_err(|e| Failure::bad_input(format!("{}: cannot read the response: {e}", path.display())))?,
        (None, None) => return Err(Failure::usage("give --response or --response-file")),
    };
    let report = judge_pair(&args.gold, &response, &policy.resolve()?);
    if as_json {
        return output::line(
            &serde_json::json!({
                "outcome": report.outcome, "method": report.method, "extracted": report.extracted,
                "gold_form": report.gold_form, "answer_form": report.answer_form, "detail": report.detail,
            })
            .to_string(),
        );
    }
    let shown = |text: &Option<String>| text.clone().unwrap_or_else(|| "nothing".to_owned());
    output::line(&format!(
        "{} by {}: extracted {}, read as {}; gold read as {}{}",
        report.outcome,
        report.method,
        shown(&report.extracted),
        shown(&report.answer_form),
        shown(&report.gold_form),
        report.detail.map_or(String::new(), |d| format!(" ({d})"))
    ))
}
