//! Text of a growing token sequence, for stop strings and streaming.
//!
//! A character may be spread over several tokens, and some decoders treat the first token of a text in a special way, so a
//! token's text is the difference between two decodings of a window that begins with text already given out. What ends in
//! an incomplete character is held back. The final text of a completion is still `decode` of all its tokens.

use crate::error::ModelError;
use crate::tokenizer::{SpecialText, TextCodec};

/// What an incomplete character decodes to.
const INCOMPLETE: char = '\u{fffd}';

/// Decoding state of one sequence.
#[derive(Debug, Clone, Default)]
pub struct Detokenizer {
    ids: Vec<u32>,
    /// Start of the window.
    window: usize,
    /// Tokens before this one have been given out.
    given: usize,
    text: String,
}

impl Detokenizer {
    /// An empty sequence.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next token and returns the text that became certain; empty while a character is incomplete.
    ///
    /// # Errors
    /// The tokenizer's decoder fails.
    pub fn push(&mut self, codec: &dyn TextCodec, id: u32) -> Result<&str, ModelError> {
        self.ids.push(id);
        let (before, now) = self.decodings(codec)?;
        let start = self.text.len();
        let new = now.get(before.len()..).filter(|new| !new.is_empty() && !new.ends_with(INCOMPLETE));
        if let Some(new) = new {
            self.text.push_str(new);
            self.window = self.given;
            self.given = self.ids.len();
        }
        Ok(&self.text[start..])
    }

    /// Gives out what was held back.
    ///
    /// # Errors
    /// The tokenizer's decoder fails.
    pub fn finish(&mut self, codec: &dyn TextCodec) -> Result<&str, ModelError> {
        let (before, now) = self.decodings(codec)?;
        let start = self.text.len();
        if let Some(rest) = now.get(before.len()..) {
            self.text.push_str(rest);
        }
        self.window = self.ids.len();
        self.given = self.ids.len();
        Ok(&self.text[start..])
    }

    /// All text given out so far.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    fn decodings(&self, codec: &dyn TextCodec) -> Result<(String, String), ModelError> {
        let before = codec.decode(&self.ids[self.window..self.given], SpecialText::Skip)?;
        let now = codec.decode(&self.ids[self.window..], SpecialText::Skip)?;
        Ok((before, now))
    }
}
