//! GSM8K: `question`, and `answer` = a rationale with calculator annotations and a last line `#### gold`.
//!
//! Decisions: the annotations `<<48/2=24>>` are cut from the rationale (they repeat the number that follows them, and no
//! verifier reads them). The gold answer loses its thousands separators (`1,080` → `1080`). The line `#### gold` becomes
//! `The final answer is \boxed{gold}.` unless the source's own ending is asked for.

use super::Draft;
use crate::gold::FinalAnswer;
use crate::record::{Fault, Fields};
use regex::Regex;
use std::sync::LazyLock;

const MARK: &str = "####";

static ANNOTATION: LazyLock<Regex> = LazyLock::new(|| Regex::new("<<[^<>]*>>").expect("a valid pattern"));
static GROUPED: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^-?\d{1,3}(,\d{3})+(\.\d+)?$").expect("a valid pattern"));

pub(super) fn draft(fields: &mut Fields, ending: FinalAnswer) -> Result<Draft, Fault> {
    let prompt = fields.required_text("question")?;
    let answer = fields.required_text("answer")?;
    let fault = |found: &str| {
        let hint = "gsm8k answers end in `#### 42`; use the format `math` or `jsonl` for records with a plain answer";
        Fault::new("answer", "a last line `#### gold`", found, hint)
    };
    let (rationale, gold) = answer.rsplit_once(MARK).ok_or_else(|| fault("no `####`"))?;
    let gold = gold.trim();
    if gold.is_empty() {
        return Err(fault("nothing after `####`"));
    }
    let rationale = ANNOTATION.replace_all(rationale.trim(), "").into_owned();
    let expert = match ending {
        FinalAnswer::Boxed => rationale,
        FinalAnswer::AsIs => format!("{rationale}\n{MARK} {gold}"),
    };
    let gold = if GROUPED.is_match(gold) { gold.replace(',', "") } else { gold.to_owned() };
    Ok(Draft::math(&prompt, Some(expert), Some(gold)))
}

#[cfg(test)]
mod tests {
    use crate::formats::Format;
    use crate::formats::testing::convert;
    use crate::gold::FinalAnswer;
    use crate::import::ImportOptions;
    use serde_json::json;

    #[test]
    fn endings() {
        let record = json!({"question": " How many? ", "idx": 3,
            "answer": "He has 48/2 = <<48/2=24>>24.\nSo 24*50 = $<<24*50=1200>>1200.\n#### 1,200"});
        let mut options = ImportOptions::new(Format::Gsm8k);
        let boxed = convert(&options, record.clone()).unwrap();
        assert_eq!(boxed.prompt, "How many?");
        assert_eq!(boxed.answer.as_deref(), Some("1200"));
        assert_eq!(
            boxed.expert_response.as_deref(),
            Some("He has 48/2 = 24.\nSo 24*50 = $1200.\nThe final answer is \\boxed{1200}.")
        );
        assert_eq!((boxed.source.as_str(), boxed.meta.as_str()), ("gsm8k", r#"{"idx":3}"#));
        options.final_answer = Some(FinalAnswer::AsIs);
        let as_is = convert(&options, record).unwrap();
        assert_eq!(as_is.expert_response.as_deref(), Some("He has 48/2 = 24.\nSo 24*50 = $1200.\n#### 1,200"));
        assert_eq!(as_is.problem_id, boxed.problem_id);
    }
}
