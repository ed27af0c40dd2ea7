//! MBPP: the full file (`text`, `test_setup_code`) and the hand-verified one (`prompt`, `test_imports`).
//!
//! The description alone does not say what the function is called, so the prompt shows the tests, as its authors' own
//! prompts do. Line ends are `\n` throughout. `challenge_test_list` stays in `meta`.

use super::{Draft, python};
use crate::record::{Fault, Fields};
use rasft_types::CodeSpec;

pub(super) fn draft(fields: &mut Fields) -> Result<Draft, Fault> {
    let name = if fields.peek("text").is_some() { "text" } else { "prompt" };
    let description = fields.required_text(name)?;
    let program = fields.text("code")?.map(|code| python::unix_lines(&code));
    let tests: Vec<String> = fields.texts("test_list")?.iter().map(|test| python::unix_lines(test)).collect();
    if tests.is_empty() {
        return Err(fields.missing("test_list", "at least one test"));
    }
    let mut setup = fields.texts("test_imports")?;
    setup.extend(fields.text("test_setup_code")?.filter(|code| !code.trim().is_empty()));
    let prompt = format!("{}\nYour code should pass these tests:\n\n{}", description.trim(), tests.join("\n"));
    let code = CodeSpec {
        entry_point: program.as_deref().and_then(|program| python::entry_point(program, &tests)),
        setup: python::unix_lines(&setup.join("\n")),
        tests,
        prompt_is_prefix: false,
    };
    Ok(Draft::code(prompt, program.as_deref(), code))
}
