//! Trained sequences: prompt, response and EOS as one list of tokens, and where the response begins in it.
//!
//! Prompt and response are tokenised *together* (algorithm.md Part A 6), because merges cross the boundary: tokenising
//! them apart yields a sequence the model never sees when it reads the text. The boundary is then found by byte offsets.
//! **A token that straddles the boundary belongs to the response**: every character of the response is then trained on,
//! and `input_ids[..prompt_len]` spells only prompt text. Such items are counted, since generation, which must tokenise
//! the prompt alone, starts from other tokens there.
//!
//! The reference implementation's way, kept for its golden file, is [`reference::build_item`].

use crate::error::ModelError;
use crate::tokenizer::{Specials, TextCodec};

pub mod reference;

/// What happens to a sequence longer than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnLong {
    /// It is left out and counted.
    #[default]
    Drop,
    /// It is cut at the limit and never gets EOS, so that stopping early is not taught.
    Truncate,
}

/// How a response ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It is complete: EOS follows.
    Eos,
    /// Its author was cut off in the middle, so EOS never follows: it would teach stopping anywhere.
    Cut,
}

/// How items are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ItemOptions {
    /// Longest sequence, prompt and EOS included.
    pub max_length: usize,
    /// What happens to longer ones.
    pub on_long: OnLong,
}

/// One sequence to train on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Prompt, response and (unless truncated) EOS.
    pub input_ids: Vec<u32>,
    /// Leading tokens that are not trained on.
    pub prompt_len: usize,
    /// The response has no EOS: it was cut to fit, or its author was cut off.
    pub truncated: bool,
    /// The first response token also spells the end of the prompt.
    pub straddles: bool,
}

impl Item {
    /// Tokens that are trained on.
    #[must_use]
    pub fn response_len(&self) -> usize {
        self.input_ids.len() - self.prompt_len
    }
}

/// Why there is no item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// The sequence is longer than the limit.
    TooLong {
        /// Its length, with EOS if it would get one.
        n_tokens: usize,
    },
    /// The prompt alone fills the limit: nothing of the response would be left.
    PromptTooLong {
        /// Tokens of the prompt.
        n_tokens: usize,
    },
    /// There is no response.
    EmptyResponse,
}

/// What became of a batch of responses; nothing vanishes silently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ItemCounts {
    /// Responses looked at.
    pub n_in: u64,
    /// Items made.
    pub n_out: u64,
    /// Items without EOS.
    pub n_truncated: u64,
    /// Dropped: longer than the limit.
    pub n_too_long: u64,
    /// Dropped: the prompt alone fills the limit.
    pub n_prompt_too_long: u64,
    /// Dropped: empty response.
    pub n_empty: u64,
    /// Items whose boundary lies inside a token.
    pub n_straddling: u64,
}

impl ItemCounts {
    /// Adds one result.
    pub fn record(&mut self, result: &Result<Item, Dropped>) {
        self.n_in += 1;
        match result {
            Ok(item) => {
                self.n_out += 1;
                self.n_truncated += u64::from(item.truncated);
                self.n_straddling += u64::from(item.straddles);
            }
            Err(Dropped::TooLong { .. }) => self.n_too_long += 1,
            Err(Dropped::PromptTooLong { .. }) => self.n_prompt_too_long += 1,
            Err(Dropped::EmptyResponse) => self.n_empty += 1,
        }
    }
}

/// [`build_item_ending`] of a complete response.
///
/// # Errors
/// The tokenizer fails.
pub fn build_item(
    codec: &dyn TextCodec,
    prompt: &str,
    response: &str,
    options: &ItemOptions,
) -> Result<Result<Item, Dropped>, ModelError> {
    build_item_ending(codec, prompt, response, Ending::Eos, options)
}

/// Builds the sequence of one templated prompt and its response.
///
/// # Errors
/// The tokenizer fails. A sequence that does not fit is an inner `Err`, to be counted.
///
/// # Source
/// algorithm.md Part A 3 and 6.
pub fn build_item_ending(
    codec: &dyn TextCodec,
    prompt: &str,
    response: &str,
    ending: Ending,
    options: &ItemOptions,
) -> Result<Result<Item, Dropped>, ModelError> {
    if response.is_empty() {
        return Ok(Err(Dropped::EmptyResponse));
    }
    let joint = codec.encode(&format!("{prompt}{response}"), Specials::Omit)?;
    // Byte-fallback tokenizers give the bytes of one character the same offsets, so ends never decrease.
    let prompt_len = joint.offsets.iter().take_while(|(_, end)| *end <= prompt.len()).count();
    let straddles = joint.offsets.get(prompt_len).is_some_and(|(start, _)| *start < prompt.len());
    let mut input_ids = joint.ids;
    let n_tokens = input_ids.len() + usize::from(ending == Ending::Eos);
    let mut truncated = ending == Ending::Cut;
    if n_tokens <= options.max_length {
        if ending == Ending::Eos {
            input_ids.push(codec.eos_id());
        }
    } else if prompt_len >= options.max_length {
        return Ok(Err(Dropped::PromptTooLong { n_tokens: prompt_len }));
    } else if options.on_long == OnLong::Drop {
        return Ok(Err(Dropped::TooLong { n_tokens }));
    } else {
        input_ids.truncate(options.max_length);
        truncated = true;
    }
    Ok(Ok(Item { input_ids, prompt_len, truncated, straddles }))
}

#[cfg(test)]
mod tests;
