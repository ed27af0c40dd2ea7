//! NuminaMath (CoT, TIR, 1.5): `problem`, `solution`, in some versions `answer`, in some `messages` that repeat both.
//!
//! The gold is `answer` if it holds one (version 1.5 writes `proof` and `notfound` where there is none), otherwise the last
//! `\boxed{…}` of the solution, otherwise null: a proof has no answer to compare, and its expert solution is kept.

use super::Draft;
use crate::gold::boxed;
use crate::record::{Fault, Fields};
use serde_json::Value;

const NO_ANSWER: [&str; 2] = ["proof", "notfound"];

pub(super) fn draft(fields: &mut Fields) -> Result<Draft, Fault> {
    let (asked, answered) = messages(fields);
    let prompt = match fields.text("problem")?.filter(|t| !t.trim().is_empty()) {
        Some(problem) => problem,
        None => {
            asked.clone().ok_or_else(|| fields.missing("problem", "a problem text, or messages with a user's turn"))?
        }
    };
    let solution = fields.text("solution")?.filter(|t| !t.trim().is_empty()).or_else(|| answered.clone());
    let repeats = |message: &Option<String>, text: &str| message.as_deref().is_none_or(|m| m.trim() == text.trim());
    if repeats(&asked, &prompt) && repeats(&answered, solution.as_deref().unwrap_or_default()) {
        fields.take("messages");
    }
    let stated = fields.answer("answer")?;
    if let Some(word) = stated.as_deref().filter(|a| NO_ANSWER.contains(a)) {
        fields.keep("answer", Value::from(word));
    }
    let answer = stated.filter(|a| !NO_ANSWER.contains(&a.as_str())).or_else(|| solution.as_deref().and_then(boxed));
    if answer.is_none() && solution.is_none() {
        return Err(fields.missing("solution", "a solution or an answer"));
    }
    Ok(Draft::math(&prompt, solution.map(|s| s.trim().to_owned()), answer))
}

/// The first user's turn and the first assistant's turn of `messages`, as far as there are any.
fn messages(fields: &Fields) -> (Option<String>, Option<String>) {
    let turn = |role: &str| {
        let turns = fields.peek("messages")?.as_array()?;
        let turn = turns.iter().find(|t| t["role"] == role)?;
        turn["content"].as_str().map(str::to_owned)
    };
    (turn("user"), turn("assistant"))
}

#[cfg(test)]
mod tests {
    use crate::formats::Format;
    use crate::formats::testing::convert;
    use crate::import::ImportOptions;
    use serde_json::json;

    #[test]
    fn versions() {
        let turns = |a: &str, b: &str| json!([{"role": "user", "content": a}, {"role": "assistant", "content": b}]);
        let cases = [
            (
                json!({"problem": "P", "solution": "\\boxed{3}", "source": "cn_k12", "messages": turns("P", "\\boxed{3}")}),
                Some("3"),
                r#"{"source":"cn_k12"}"#,
            ),
            (json!({"problem": "P", "solution": "S", "answer": "7"}), Some("7"), "{}"),
            (json!({"problem": "P", "solution": "S", "answer": "proof"}), None, r#"{"answer":"proof"}"#),
            (json!({"messages": turns("P", "S \\boxed{1}")}), Some("1"), "{}"),
        ];
        for (record, answer, meta) in cases {
            let problem = convert(&ImportOptions::new(Format::Numina), record).unwrap();
            assert_eq!(
                (problem.prompt.as_str(), problem.answer.as_deref(), problem.meta.as_str()),
                ("P", answer, meta)
            );
            assert!(problem.expert_response.is_some());
        }
        let other = json!({"problem": "P", "solution": "S", "messages": turns("other", "S")});
        let problem = convert(&ImportOptions::new(Format::Numina), other).unwrap();
        assert!(problem.meta.contains("other"), "what differs is kept: {}", problem.meta);
    }
}
