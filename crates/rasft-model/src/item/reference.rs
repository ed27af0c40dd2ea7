//! The reference implementation's `build_item` (algorithm.md §0.1–4), kept as the oracle of `golden/build_item.jsonl`.
//!
//! It tokenises prompt and response apart for the budget and jointly for the ids, and gives a *truncated* response an EOS
//! (§13 B13, B19). Nothing in the toolkit trains on its output unless the `reference` behaviour is asked for.

use crate::error::ModelError;
use crate::tokenizer::{SpecialText, Specials, TextCodec};

/// The system prompt of §0; the braces are literal.
pub const SYSTEM_PROMPT: &str = "Please reason step by step, and put your final answer within \\boxed{}.";
/// A budget of this many tokens or fewer yields no item (§0.1).
const MIN_BUDGET: usize = 16;
/// A truncated response of fewer characters yields no item (§0.2).
const MIN_TRUNCATED_CHARS: usize = 20;
/// Fewer labels yield no item (§0.4).
const MIN_LABELS: usize = 4;

/// One sequence as the reference code builds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferenceItem {
    /// Prompt, response and EOS, cut to the limit.
    pub input_ids: Vec<u32>,
    /// Leading tokens without a label.
    pub n_prompt: usize,
    /// The response as trained: as given, or cut and stripped.
    pub response: String,
}

/// The hard-coded ChatML prompt of §0.
#[must_use]
pub fn chatml_prompt(instruction: &str) -> String {
    format!(
        "<|im_start|>system\n{SYSTEM_PROMPT}<|im_end|>\n<|im_start|>user\n{instruction}<|im_end|>\n<|im_start|>assistant\n"
    )
}

/// The reference's truncation of a response to the token budget (§0.1–2); `None` where it gives up.
///
/// # Errors
/// The tokenizer fails.
pub fn fit_response(
    codec: &dyn TextCodec,
    prompt: &str,
    response: &str,
    max_len: usize,
) -> Result<Option<String>, ModelError> {
    let n_prompt = codec.encode(prompt, Specials::Omit)?.ids.len();
    let budget = max_len.saturating_sub(n_prompt + 1);
    if budget <= MIN_BUDGET {
        return Ok(None);
    }
    let ids = codec.encode(response, Specials::Omit)?.ids;
    if ids.len() <= budget {
        return Ok(Some(response.to_owned()));
    }
    let cut = codec.decode(&ids[..budget], SpecialText::Skip)?;
    let cut = python_strip(&cut);
    Ok((cut.chars().count() >= MIN_TRUNCATED_CHARS).then(|| cut.to_owned()))
}

/// Builds the reference's item, or `None` where the reference drops it.
///
/// # Errors
/// The tokenizer fails.
///
/// # Source
/// algorithm.md §0.1–4.
pub fn build_item(
    codec: &dyn TextCodec,
    instruction: &str,
    response: &str,
    max_len: usize,
) -> Result<Option<ReferenceItem>, ModelError> {
    let prompt = chatml_prompt(instruction);
    let Some(response) = fit_response(codec, &prompt, response, max_len)? else { return Ok(None) };
    let mut input_ids = codec.encode(&format!("{prompt}{response}{}", codec.eos_text()), Specials::Add)?.ids;
    input_ids.truncate(max_len);
    let n_prompt = codec.encode(&prompt, Specials::Add)?.ids.len().min(max_len).min(input_ids.len());
    if input_ids.len() - n_prompt < MIN_LABELS {
        return Ok(None);
    }
    Ok(Some(ReferenceItem { input_ids, n_prompt, response }))
}

/// Python's `str.strip()`: White_Space plus U+001C to U+001F.
fn python_strip(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c))
}
