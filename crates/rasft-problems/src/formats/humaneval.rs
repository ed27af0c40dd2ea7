//! HumanEval: the prompt is the beginning of a program, the tests are a function `check(candidate)`.
//!
//! The prompt is kept byte for byte. The expert solution is the whole program, prompt and canonical solution, in one fenced
//! block. The one test is the source's test text followed by the call of `check` on the entry point.

use super::Draft;
use crate::record::{Fault, Fields};
use rasft_types::CodeSpec;

pub(super) fn draft(fields: &mut Fields) -> Result<Draft, Fault> {
    let prompt = fields.required_text("prompt")?;
    let entry_point = fields.required_text("entry_point")?;
    let test = fields.required_text("test")?;
    let program = fields.text("canonical_solution")?.map(|body| format!("{prompt}{body}"));
    let test = format!("{}\n\ncheck({entry_point})\n", test.trim_matches('\n'));
    let code =
        CodeSpec { entry_point: Some(entry_point), setup: String::new(), tests: vec![test], prompt_is_prefix: true };
    Ok(Draft::code(prompt, program.as_deref(), code))
}
