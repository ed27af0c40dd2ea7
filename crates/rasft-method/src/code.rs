//! The format filter for code: one fenced or bare Python program that defines the entry point.
//!
//! A lexical check, not a parser: whether the program runs is found out by its tests. Deliberately absent: execution.

use crate::filters::{is_loop, is_noise, is_shortcut};
use crate::text;
use rasft_types::{CodeSpec, Rejection};

/// Words that begin a top-level statement of a program.
const STATEMENTS: [&str; 17] = [
    "def", "class", "import", "from", "async", "if", "elif", "else", "for", "while", "try", "except", "finally",
    "with", "assert", "raise", "pass",
];

/// The one program of a completion that defines `entry_point` (any program, if that is `None`).
///
/// Fenced Python blocks (tag `python`, `py`, `python3` or none; the last fence may be missing) if there are any; otherwise
/// the whole completion if every unindented line of it begins like a Python statement. `None` without a program, or if
/// several blocks define the entry point.
///
/// # Source
/// algorithm.md Part A 5.
pub fn entry_program<'a>(completion: &'a str, entry_point: Option<&str>) -> Option<&'a str> {
    let fenced = fenced_programs(completion);
    let candidates = match fenced {
        Some(blocks) => blocks,
        None if is_bare_program(completion) => vec![completion],
        None => Vec::new(),
    };
    let fits = |program: &&str| match entry_point {
        Some(name) => defines(program, name),
        None => !text::strip(program).is_empty(),
    };
    let mut fitting = candidates.into_iter().filter(fits);
    match (fitting.next(), fitting.next()) {
        (Some(program), None) => Some(program),
        _ => None,
    }
}

/// Whether a top-level line of `program` is `def name(`, `async def name(`, `class name` or `name =`.
pub fn defines(program: &str, name: &str) -> bool {
    let defined = |line: &str| {
        let line = line.strip_prefix("async ").map_or(line, str::trim_start);
        let rest = ["def ", "class "].iter().find_map(|word| line.strip_prefix(word)).map(str::trim_start);
        let after = rest.unwrap_or(line).strip_prefix(name).map(str::trim_start);
        match (rest, after) {
            (Some(_), Some(after)) => after.starts_with(['(', ':', '[']),
            (None, Some(after)) => after.starts_with('=') && !after.starts_with("=="),
            _ => false,
        }
    };
    program.lines().any(defined)
}

/// Whether the completion holds the program that `code` asks for.
///
/// With `prompt_is_prefix` a completion that begins indented goes on with the prompt's function and is taken as it is.
///
/// # Source
/// algorithm.md Part A 5.
pub fn has_program_form(completion: &str, code: &CodeSpec) -> bool {
    let continues = || {
        let first = completion.lines().find(|line| !text::strip(line).is_empty());
        first.is_some_and(|line| line.starts_with([' ', '\t'])) && !completion.contains("```")
    };
    entry_program(completion, code.entry_point.as_deref()).is_some() || (code.prompt_is_prefix && continues())
}

/// The filters that a completion to a code problem fails: those of [`crate::filters::rejections`] with the format rule for code.
pub fn rejections(completion: &str, code: &CodeSpec) -> Vec<Rejection> {
    let stripped = text::strip(completion);
    let checks = [
        (Rejection::Gibberish, is_noise(stripped)),
        (Rejection::Loop, is_loop(stripped)),
        (Rejection::Shortcut, is_shortcut(stripped)),
        // Unstripped: the first line's indentation tells a continuation.
        (Rejection::Format, !has_program_form(completion, code)),
        (Rejection::Empty, stripped.is_empty()),
    ];
    checks.into_iter().filter(|(_, fails)| *fails).map(|(rejection, _)| rejection).collect()
}

/// Contents of the fenced Python blocks; `None` if the text has no fence at all.
fn fenced_programs(completion: &str) -> Option<Vec<&str>> {
    let mut blocks = Vec::new();
    let mut any = false;
    let mut open: Option<(usize, bool)> = None;
    let mut at = 0;
    for line in completion.split_inclusive('\n') {
        let start = at;
        at += line.len();
        let Some(tag) = text::strip(line).strip_prefix("```") else { continue };
        any = true;
        open = match open {
            None => Some((at, is_python_tag(tag))),
            Some((from, python)) => {
                blocks.extend(python.then(|| &completion[from..start]));
                None
            }
        };
    }
    if let Some((from, true)) = open {
        blocks.push(&completion[from..]);
    }
    any.then_some(blocks)
}

fn is_python_tag(tag: &str) -> bool {
    let tag = tag.trim_matches(['{', '}', '.', ' ']).to_ascii_lowercase();
    matches!(tag.as_str(), "" | "python" | "py" | "python3")
}

/// Whether every line at the top level of brackets and strings begins like a Python statement.
fn is_bare_program(completion: &str) -> bool {
    let mut scan = Scan::default();
    let mut any = false;
    for line in completion.lines() {
        let inside = scan.is_inside();
        scan.line(line);
        if inside || line.is_empty() || line.starts_with(text::is_space) {
            continue;
        }
        if !begins_statement(line) {
            return false;
        }
        any = true;
    }
    any
}

fn begins_statement(line: &str) -> bool {
    if line.starts_with(['#', '@', '"', '\'', '(', '[', '{']) {
        return true;
    }
    let is_name = |c: char| c == '_' || text::is_alphanumeric(c);
    let end = line.find(|c| !is_name(c)).unwrap_or(line.len());
    let (word, rest) = (&line[..end], line[end..].trim_start());
    if STATEMENTS.contains(&word) {
        return true;
    }
    // A name is a statement if it is assigned, annotated and assigned, called, indexed or reached into.
    let glued = match line[end..].strip_prefix('.') {
        Some(attribute) => attribute.starts_with(is_name),
        None => line[end..].starts_with(['(', '[']),
    };
    let assigned = rest.contains('=') && rest.starts_with(['=', ',', ':', '+', '-', '*', '/', '|', '&', '^', '%']);
    !word.is_empty() && (glued || assigned)
}

/// What a scan over lines is inside of.
#[derive(Default)]
struct Scan {
    triple: Option<u8>,
    depth: usize,
    continued: bool,
}

impl Scan {
    fn is_inside(&self) -> bool {
        self.triple.is_some() || self.depth > 0 || self.continued
    }

    fn line(&mut self, line: &str) {
        let bytes = line.as_bytes();
        let mut i = 0;
        self.continued = self.triple.is_none() && line.ends_with('\\');
        while i < bytes.len() {
            if let Some(quote) = self.triple {
                i += self.in_triple(&bytes[i..], quote);
                continue;
            }
            match bytes[i] {
                b'#' => {
                    self.continued = false;
                    return;
                }
                quote @ (b'"' | b'\'') => i += self.open_string(&bytes[i..], quote),
                b'(' | b'[' | b'{' => {
                    self.depth += 1;
                    i += 1;
                }
                b')' | b']' | b'}' => {
                    self.depth = self.depth.saturating_sub(1);
                    i += 1;
                }
                _ => i += 1,
            }
        }
    }

    /// Bytes consumed within a triple-quoted string.
    fn in_triple(&mut self, rest: &[u8], quote: u8) -> usize {
        if rest.starts_with(&[quote; 3]) {
            self.triple = None;
            return 3;
        }
        1 + usize::from(rest[0] == b'\\')
    }

    /// Bytes consumed by a string that begins here: all of a one-line string, or the opening of a triple-quoted one.
    fn open_string(&mut self, rest: &[u8], quote: u8) -> usize {
        if rest.starts_with(&[quote; 3]) {
            self.triple = Some(quote);
            return 3;
        }
        let mut i = 1;
        while i < rest.len() && rest[i] != quote {
            i += 1 + usize::from(rest[i] == b'\\');
        }
        i + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADD: &str =
        "import math\n\ndef add(a, b):\n    \"\"\"Sum.\n\nNot a program line.\n\"\"\"\n    return a + b\n";

    fn spec(entry_point: Option<&str>, prompt_is_prefix: bool) -> CodeSpec {
        CodeSpec { entry_point: entry_point.map(str::to_owned), prompt_is_prefix, ..CodeSpec::default() }
    }

    #[test]
    fn bare_and_fenced_programs_are_found() {
        assert_eq!(entry_program(ADD, Some("add")), Some(ADD));
        let fenced = format!("Here is the code:\n```python\n{ADD}```\nIt adds.");
        assert_eq!(entry_program(&fenced, Some("add")), Some(ADD));
        let unclosed = format!("So:\n```Python\n{ADD}");
        assert_eq!(entry_program(&unclosed, Some("add")), Some(ADD));
        assert_eq!(entry_program(&fenced, Some("sub")), None);
    }

    #[test]
    fn one_block_must_define_the_entry_point() {
        let two = format!("```py\n{ADD}```\nUsage:\n```\nprint(add(1, 2))\n```\n```bash\nls\n```");
        assert_eq!(entry_program(&two, Some("add")), Some(ADD));
        assert_eq!(entry_program(&two, None), None);
        let twice = format!("```py\n{ADD}```\nor\n```py\n{ADD}```");
        assert_eq!(entry_program(&twice, Some("add")), None);
    }

    #[test]
    fn prose_is_not_a_program() {
        let prose = format!("The function is this:\n{ADD}");
        assert_eq!(entry_program(&prose, Some("add")), None);
        for line in ["Note: it works", "I add both...", "Sure.", "We have x = 1", ""] {
            assert_eq!(entry_program(line, None), None, "{line}");
        }
        for line in [
            "x = 1",
            "x: int = 1",
            "a, b = 1, 2",
            "print(add(1))",
            "if x:\n    pass\nelse:\n    pass",
            "x[\n1\n] = 2",
            "sys.exit()",
        ] {
            assert_eq!(entry_program(line, None), Some(line), "{line}");
        }
    }

    #[test]
    fn definitions_stand_at_the_top_level() {
        assert!(defines("async def f(x):\n    pass", "f"));
        assert!(defines("f = lambda x: x", "f"));
        assert!(defines("class Solver:\n    pass", "Solver"));
        assert!(!defines("def outer():\n    def f(x):\n        pass", "f"));
        assert!(!defines("def func(x):\n    pass", "f"));
        assert!(!defines("f == 3", "f"));
    }

    #[test]
    fn continuations_pass_only_where_the_prompt_is_a_prefix() {
        let body = "    total = a + b\n    return total\n";
        assert_eq!(rejections(body, &spec(Some("add"), true)), []);
        assert_eq!(rejections(body, &spec(Some("add"), false)), [Rejection::Format]);
        assert_eq!(rejections(ADD, &spec(Some("add"), true)), []);
    }

    #[test]
    fn rejections_name_the_causes() {
        use Rejection::{Empty, Format, Gibberish, Loop};
        assert_eq!(rejections("", &spec(Some("f"), false)), [Gibberish, Loop, Format, Empty]);
        assert_eq!(rejections("I cannot write this function.", &spec(Some("f"), false)), [Format]);
    }
}
