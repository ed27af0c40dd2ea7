//! Records of mathematics benchmarks, each with its publisher's field names.
//!
//! | part | fields, the first that is there |
//! | --- | --- |
//! | prompt | `Body` + `Question` (SVAMP), `problem`, `question`, `input` (MAWPS), `Problem`, `Question`; a `context` (OlympiadBench) goes before it |
//! | expert solution | `solution`, `Solution`; of a list the first, the others stay in `meta` |
//! | gold | `answer`, `final_answer`, `target`, `Answer`; otherwise the last `\boxed{…}` of the solution (MATH, Minerva) |
//!
//! Decisions: an answer given as a number is written plainly (27.0 → `27`); the entries of a list are joined by `, `; a
//! text stays as its publisher wrote it, with its leading zeros and dollars. A unit beside the answer (OlympiadBench) stays
//! in `meta`: the prompt asks for a number in that unit. A second copy of the prompt under another name is dropped.

use super::Draft;
use crate::gold::boxed;
use crate::record::{Fault, Fields};
use serde_json::Value;

const PROMPTS: [&str; 5] = ["problem", "question", "input", "Problem", "Question"];
const ANSWERS: [&str; 4] = ["answer", "final_answer", "target", "Answer"];
const SOLUTIONS: [&str; 2] = ["solution", "Solution"];

pub(super) fn draft(fields: &mut Fields) -> Result<Draft, Fault> {
    let prompt = prompt(fields)?;
    let expert = expert(fields)?;
    let mut answer = None;
    for name in ANSWERS {
        answer = fields.answer(name)?;
        if answer.is_some() {
            break;
        }
    }
    let answer = answer.or_else(|| expert.as_deref().and_then(boxed));
    if answer.is_none() {
        let expected = format!("a gold answer in one of {}, or a \\boxed{{…}} in the solution", ANSWERS.join(", "));
        return Err(fields.missing(ANSWERS[0], &expected));
    }
    Ok(Draft::math(&prompt, expert, answer))
}

fn prompt(fields: &mut Fields) -> Result<String, Fault> {
    if fields.peek("Body").is_some() && fields.peek("Question").is_some() {
        let body = fields.required_text("Body")?;
        let question = fields.required_text("Question")?;
        return Ok(joined(body.trim(), question.trim()));
    }
    let Some(name) = PROMPTS.into_iter().find(|name| fields.peek(name).is_some_and(|v| !v.is_null())) else {
        return Err(fields.missing(PROMPTS[0], &format!("a problem text in one of {}", PROMPTS.join(", "))));
    };
    let prompt = fields.required_text(name)?;
    for copy in PROMPTS {
        if fields.peek(copy).and_then(Value::as_str).is_some_and(|text| text.trim() == prompt.trim()) {
            fields.take(copy);
        }
    }
    match fields.peek("context") {
        Some(Value::String(context)) if !context.trim().is_empty() => {
            let context = fields.required_text("context")?;
            Ok(format!("{}\n\n{}", context.trim(), prompt.trim()))
        }
        _ => Ok(prompt),
    }
}

/// SVAMP bodies that are a clause ("If he has 34 books in 2 bookshelves") lack the comma before their question.
fn joined(body: &str, question: &str) -> String {
    let ends = body.ends_with(|c: char| !c.is_alphanumeric());
    format!("{body}{}{question}", if ends { " " } else { ", " })
}

fn expert(fields: &mut Fields) -> Result<Option<String>, Fault> {
    for name in SOLUTIONS {
        if !matches!(fields.peek(name), Some(Value::Array(_))) {
            match fields.text(name)? {
                Some(text) if !text.trim().is_empty() => return Ok(Some(text.trim().to_owned())),
                _ => continue,
            }
        }
        let mut solutions = fields.texts(name)?;
        if solutions.is_empty() {
            continue;
        }
        let first = solutions.remove(0).trim().to_owned();
        if !solutions.is_empty() {
            fields.keep("other_solutions", Value::from(solutions));
        }
        return Ok(Some(first));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use crate::formats::Format;
    use crate::formats::testing::convert;
    use crate::gold::FinalAnswer;
    use crate::import::ImportOptions;
    use serde_json::json;

    #[test]
    fn shapes() {
        let options = ImportOptions::new(Format::Math);
        let cases = [
            (json!({"problem": "P", "question": "P ", "answer": 27.0, "url": "u"}), "P", "27", r#"{"url":"u"}"#),
            (json!({"problem": "P", "question": "Q", "answer": "025"}), "P", "025", r#"{"question":"Q"}"#),
            (json!({"problem": "P", "solution": "so \\boxed{1.6}", "idx": 0}), "P", "1.6", r#"{"idx":0}"#),
            (
                json!({"Body": "If he has 2", "Question": "How many?", "Answer": 9.5}),
                "If he has 2, How many?",
                "9.5",
                "{}",
            ),
            (json!({"Body": "He has 2.", "Question": "How many?", "Answer": 9}), "He has 2. How many?", "9", "{}"),
            (json!({"input": "I", "target": -1.0}), "I", "-1", "{}"),
            (
                json!({"question": "Q", "context": "C", "solution": ["a", "b"], "final_answer": ["$1$", "2"], "unit": "km"}),
                "C\n\nQ",
                "$1$, 2",
                r#"{"other_solutions":["b"],"unit":"km"}"#,
            ),
        ];
        for (record, prompt, answer, meta) in cases {
            let problem = convert(&options, record).unwrap();
            assert_eq!(
                (problem.prompt.as_str(), problem.answer.as_deref(), problem.meta.as_str()),
                (prompt, Some(answer), meta)
            );
        }
    }

    #[test]
    fn box_is_added_on_request() {
        let mut options = ImportOptions::new(Format::Math);
        options.final_answer = Some(FinalAnswer::Boxed);
        let problem = convert(&options, json!({"question": "Q", "solution": ["s"], "final_answer": ["$2$"]})).unwrap();
        assert_eq!(problem.expert_response.as_deref(), Some("s\nThe final answer is \\boxed{2}."));
    }
}
