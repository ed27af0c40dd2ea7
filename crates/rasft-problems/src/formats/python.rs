//! The little that must be known of Python source to import code problems. Nothing is executed here.

use regex::Regex;
use std::sync::LazyLock;

static DEFINED: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?m)^(?:async\s+)?(?:def|class)\s+(\w+)").expect("a valid pattern"));
static CALLED: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\b([A-Za-z_]\w*)\s*\(").expect("a valid pattern"));

/// A program as an answer: one fenced block, which is what the format filter for code asks for (algorithm.md Part A 5).
pub(super) fn fenced(program: &str) -> String {
    format!("```python\n{}\n```", program.trim_matches('\n').trim_end())
}

/// Line ends as Python's own reader sees them.
pub(super) fn unix_lines(source: &str) -> String {
    source.replace("\r\n", "\n").replace('\r', "\n")
}

/// The first function or class that the tests call and the program defines.
pub(super) fn entry_point(program: &str, tests: &[String]) -> Option<String> {
    let defined: Vec<&str> = DEFINED.captures_iter(program).filter_map(|c| c.get(1)).map(|m| m.as_str()).collect();
    tests
        .iter()
        .flat_map(|test| CALLED.captures_iter(test).filter_map(|c| c.get(1)))
        .map(|m| m.as_str())
        .find(|name| defined.contains(name))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_point_is_what_the_tests_call() {
        let program = "import math\ndef helper(x):\n  return x\ndef main_f(a):\n  return helper(a)\n";
        let tests = ["assert set(main_f((3, 4))) == set((helper(4),))".to_owned()];
        assert_eq!(entry_point(program, &tests).as_deref(), Some("main_f"));
        assert_eq!(entry_point(program, &["assert f(1)".to_owned()]), None);
    }
}
