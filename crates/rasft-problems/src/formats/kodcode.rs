//! KodCode: `question`, `solution`, `test` (a pytest file that imports from a module `solution`), `test_info`.
//!
//! The setup is the whole test file, its imports from `solution` undone (program and tests share one namespace here) and
//! `import pytest` replaced by the few lines of `pytest_shim.py`; each test is the call of one test function or method. So
//! no pytest is needed where programs run, and every test counts on its own. A file that uses more of pytest than
//! `raises`, `approx`, `fail` and `mark.parametrize`, or fixtures, is a fault that names what it uses.
//!
//! Where the question does not name the function that the tests call, its declaration is added, as the publishers advise.

use super::{Draft, python};
use crate::record::{Fault, Fields};
use rasft_types::CodeSpec;
use regex::Regex;
use serde_json::Value;
use std::sync::LazyLock;

const PYTEST_SHIM: &str = include_str!("pytest_shim.py");

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a valid pattern")
}

static FROM_SOLUTION: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?m)^([ \t]*)from[ \t]+solution[ \t]+import[ \t]*(\([^)]*\)|[^\n#]*)[^\n]*$"));
static IMPORT_SOLUTION: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?m)^([ \t]*)import[ \t]+solution(?:[ \t]+as[ \t]+(\w+))?[ \t]*$"));
static IMPORT_PYTEST: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?m)^import[ \t]+pytest[ \t]*(?:#[^\n]*)?$"));
static OTHER_PYTEST: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?m)^[ \t]*(?:from[ \t]+pytest\b[^\n]*|import[ \t][^\n]*\bpytest\b[^\n]*)$"));
static USE_OF_PYTEST: LazyLock<Regex> = LazyLock::new(|| pattern(r"\bpytest\.((?:mark\.)?\w+)"));
static HEADER: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?m)^(?:class[ \t]+(?P<class>\w+)[ \t]*(?:\((?P<bases>[^)]*)\))?|(?P<indent>    |\t|)(?P<async>async[ \t]+)?def[ \t]+(?P<def>\w+)[ \t]*\((?P<args>[^)]*)\))",
    )
});
static PARAMETERS: LazyLock<Regex> = LazyLock::new(|| pattern(r#"parametrize\(\s*["']([^"']+)["']"#));

pub(super) fn draft(fields: &mut Fields) -> Result<Draft, Fault> {
    let question = fields.required_text("question")?;
    let program = fields.text("solution")?.map(|code| python::unix_lines(&code));
    let name = if fields.peek("test").is_some() { "test" } else { "test_code" };
    let file = python::unix_lines(&fields.required_text(name)?);
    let tests = calls(name, &file)?;
    let setup = setup(name, &file)?;
    let functions = functions(fields);
    let prompt = prompt(question.trim(), &functions);
    let entry_point = match functions.as_slice() {
        [(name, _)] => Some(name.clone()),
        [] => fields.text("test_entry_point")?,
        _ => None,
    };
    Ok(Draft::code(prompt, program.as_deref(), CodeSpec { entry_point, setup, tests, prompt_is_prefix: false }))
}

/// Name and declaration of the functions that the tests call, from `test_info`.
fn functions(fields: &Fields) -> Vec<(String, Option<String>)> {
    let infos = fields.peek("test_info").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let text = |info: &Value, key: &str| info[key].as_str().filter(|t| !t.trim().is_empty()).map(str::to_owned);
    infos.iter().filter_map(|info| Some((text(info, "function_name")?, text(info, "function_declaration")))).collect()
}

fn prompt(question: &str, functions: &[(String, Option<String>)]) -> String {
    let unnamed: Vec<String> = functions
        .iter()
        .filter(|(name, _)| !names(question, name))
        .map(|(name, declaration)| match declaration {
            Some(declaration) => format!("`{}`", declaration.trim().trim_end_matches(':')),
            None => format!("`{name}`"),
        })
        .collect();
    match unnamed.is_empty() {
        true => question.to_owned(),
        false => format!("{question}\n\nYour program must define {}.", unnamed.join(" and ")),
    }
}

/// Whether a question names a function as one: quoted as code, called, or a word that is no English word (`a_b`).
fn names(question: &str, function: &str) -> bool {
    let called = question.contains(&format!("`{function}")) || question.contains(&format!("{function}("));
    let word = |c: char| c == '_' || c.is_alphanumeric();
    called || (function.contains('_') && question.split(|c| !word(c)).any(|w| w == function))
}

fn setup(field: &str, file: &str) -> Result<String, Fault> {
    let refuse = |found: &str| Err(Fault::new(field, "tests that run without pytest", found, LEAVE_OUT));
    if let Some(used) = OTHER_PYTEST.find_iter(file).find(|m| !IMPORT_PYTEST.is_match(m.as_str())) {
        return refuse(&format!("`{}`", used.as_str().trim()));
    }
    for used in USE_OF_PYTEST.captures_iter(file) {
        if !["raises", "approx", "fail", "mark.parametrize"].contains(&&used[1]) {
            return refuse(&format!("`pytest.{}`", &used[1]));
        }
    }
    let file = FROM_SOLUTION.replace_all(file, |c: &regex::Captures| format!("{}{}", &c[1], aliases(&c[2])));
    let file = IMPORT_SOLUTION.replace_all(&file, |c: &regex::Captures| {
        let name = c.get(2).map_or("solution", |m| m.as_str());
        format!("{}{name} = __import__('types').SimpleNamespace(**globals())", &c[1])
    });
    let file = IMPORT_PYTEST.replace(&file, regex::NoExpand(PYTEST_SHIM));
    Ok(file.trim_matches('\n').to_owned())
}

const LEAVE_OUT: &str = "this record needs a test runner that is not here: leave it out";

/// What an import list means when the names are there already: its `a as b`, as assignments.
fn aliases(list: &str) -> String {
    let list = list.trim().trim_start_matches('(').trim_end_matches(')');
    let renamed: Vec<String> = list
        .split(',')
        .filter_map(|item| item.split_once(" as "))
        .map(|(name, alias)| format!("{} = {}", alias.trim(), name.trim()))
        .collect();
    if renamed.is_empty() { "pass".to_owned() } else { renamed.join("; ") }
}

/// One call for each test function, and for each test method of a plain class, in file order.
fn calls(field: &str, file: &str) -> Result<Vec<String>, Fault> {
    let refuse = |found: String| Err(Fault::new(field, "plain test functions", found, LEAVE_OUT));
    let parameters: Vec<&str> = PARAMETERS
        .captures_iter(file)
        .filter_map(|c| c.get(1))
        .flat_map(|m| m.as_str().split(','))
        .map(str::trim)
        .collect();
    let mut class: Option<&str> = None;
    let mut calls = Vec::new();
    for header in HEADER.captures_iter(file) {
        let part = |name: &str| header.name(name).map(|m| m.as_str().trim());
        if let Some(name) = part("class") {
            class = Some(name).filter(|name| name.starts_with("Test"));
            if class.is_some() && part("bases").is_some_and(|bases| !bases.is_empty() && bases != "object") {
                return refuse(format!("class {name}({})", part("bases").unwrap_or_default()));
            }
            continue;
        }
        let (name, method) = (part("def").unwrap_or_default(), header.name("indent").is_some_and(|m| !m.is_empty()));
        if !method {
            class = None;
        }
        if method && class.is_some() && (name.starts_with("setup") || name == "__init__") {
            return refuse(format!("method {name}"));
        }
        if !name.starts_with("test") || method != class.is_some() {
            continue;
        }
        let args = part("args").unwrap_or_default().split(',').map(str::trim).filter(|a| !a.is_empty() && *a != "self");
        if let Some(arg) =
            args.map(|a| a.split([':', '=']).next().unwrap_or(a).trim()).find(|a| !parameters.contains(a))
        {
            return refuse(format!("test {name} with the fixture {arg}"));
        }
        if part("async").is_some() {
            return refuse(format!("coroutine {name}"));
        }
        calls.push(class.map_or(format!("{name}()"), |class| format!("{class}().{name}()")));
    }
    if calls.is_empty() { refuse("no test function".to_owned()) } else { Ok(calls) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::Format;
    use crate::formats::testing::convert;
    use crate::import::ImportOptions;
    use serde_json::json;
    use std::process::Command;

    const FILE: &str = "import pytest\nfrom solution import area as a, grow\nimport solution\n\n\
        def helper():\n    return 4\n\n\
        def test_area():\n    assert a(2) == helper()\n    assert solution.area(2) == 4\n\n\
        def test_error():\n    with pytest.raises(ValueError, match='neg'):\n        a(-1)\n\n\
        @pytest.mark.parametrize('x, y', [(1, 1), (3, 9)])\ndef test_many(x, y):\n    assert grow(x) == pytest.approx(y)\n\n\
        class TestMore:\n    def test_float(self):\n        assert grow(0.5) == pytest.approx(0.25)\n";

    fn record(test: &str) -> Value {
        json!({"question": "Compute the area.", "solution": "def area(s):\n    return s", "test": test, "style": "instruct",
            "test_info": [{"function_name": "area", "function_declaration": "def area(s):", "docstring": ""}]})
    }

    /// Runs a program with its setup and one test, as a judge does.
    fn passes(program: &str, code: &CodeSpec, test: &str) -> bool {
        let text = format!("{program}\n{}\n{test}\n", code.setup);
        let status = Command::new("python3").args(["-I", "-S", "-c", &text]).output().expect("python3 runs");
        status.status.success()
    }

    #[test]
    fn tests_run_without_pytest_and_tell_right_from_wrong() {
        let problem = convert(&ImportOptions::new(Format::KodCode), record(FILE)).unwrap();
        assert_eq!(problem.prompt, "Compute the area.\n\nYour program must define `def area(s)`.");
        let code = problem.code.unwrap();
        assert_eq!(code.entry_point.as_deref(), Some("area"));
        assert_eq!(code.tests, ["test_area()", "test_error()", "test_many()", "TestMore().test_float()"]);
        let right = "def area(s):\n    if s < 0:\n        raise ValueError('negative')\n    return s * s\ngrow = area";
        let no_error = "def area(s):\n    return s * s\ngrow = area";
        let wrong = "def area(s):\n    return s + 1\ngrow = area";
        let passed = |program: &str| -> Vec<bool> { code.tests.iter().map(|t| passes(program, &code, t)).collect() };
        assert_eq!(passed(right), [true, true, true, true]);
        assert_eq!(passed(no_error), [true, false, true, true]);
        assert_eq!(passed(wrong), [false, false, false, false]);
    }

    #[test]
    fn what_cannot_be_run_is_named() {
        let cases = [
            ("import pytest\n@pytest.fixture\ndef x():\n    return 1\ndef test_a():\n    pass\n", "`pytest.fixture`"),
            ("from pytest import raises\ndef test_a():\n    pass\n", "`from pytest import raises`"),
            ("def test_a(tmp_path):\n    pass\n", "test test_a with the fixture tmp_path"),
            (
                "class TestA(unittest.TestCase):\n    def test_a(self):\n        pass\n",
                "class TestA(unittest.TestCase)",
            ),
            ("async def test_a():\n    pass\n", "coroutine test_a"),
            ("assert 1\n", "no test function"),
        ];
        for (file, found) in cases {
            let fault = convert(&ImportOptions::new(Format::KodCode), record(file)).unwrap_err();
            assert_eq!(fault.found, found);
        }
    }
}
