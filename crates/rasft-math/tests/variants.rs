//! Rewritten gold answers: every benchmark's golds in the other forms people write them in, and near misses of them.
//!
//! Each rule keeps or breaks the value by construction, for whatever golds it applies to.

mod common;
#[path = "common/golds.rs"]
mod golds;

use common::shared;
use golds::{BENCHMARKS, golds};
use rasft_math::answer::{Value, read_answer};
use rasft_math::expr::Expr;
use rasft_math::{Budget, Verifier};
use std::collections::BTreeMap;

/// Right and wrong verdicts by rule.
#[derive(Default)]
struct Score {
    rules: BTreeMap<&'static str, (u32, Vec<String>)>,
}

impl Score {
    fn check(&mut self, rule: &'static str, gold: &str, answer: &str, expected: bool) {
        let verifier = Verifier::default();
        let (n, wrong) = self.rules.entry(rule).or_default();
        *n += 1;
        if verifier.verify(gold, &format!("So it is \\boxed{{{answer}}}.")).is_correct() != expected {
            wrong.push(format!("{rule}: gold {gold:?}, answer {answer:?}, expected {expected}"));
        }
    }

    fn all(&mut self, rule: &'static str, gold: &str, answers: &[String], expected: bool) {
        for answer in answers {
            self.check(rule, gold, answer, expected);
        }
    }

    /// Prints the table; every rule must be right wherever it applies.
    fn finish(self, least: u32) {
        let total: u32 = self.rules.values().map(|r| r.0).sum();
        let mut wrong = Vec::new();
        for (rule, (n, failures)) in self.rules {
            println!("{rule:<20}{n:>7}{:>5} wrong", failures.len());
            wrong.extend(failures);
        }
        assert!(total >= least, "only {total} variants");
        assert!(wrong.is_empty(), "{} of {total}:\n{}", wrong.len(), wrong.join("\n"));
    }
}

fn every_gold() -> Option<Vec<String>> {
    let shared = shared()?;
    let mut all: Vec<String> = BENCHMARKS.iter().flat_map(|b| golds(&shared, b)).collect();
    for gold in &mut all {
        let bare = gold.trim().trim_matches('$').trim();
        *gold = bare.to_owned();
    }
    all.retain(|g| !g.is_empty() && !g.contains('$'));
    all.sort();
    all.dedup();
    Some(all)
}

#[test]
fn spelling() {
    let Some(all) = every_gold() else { return };
    let mut score = Score::default();
    for gold in &all {
        let g = gold.as_str();
        score.all("blanks", g, &[format!("\\, {g} \\,"), format!("\n{g}\n"), format!("{g}\\;"), format!("{g}~")], true);
        score.all("wrapping", g, &[format!("{{{g}}}"), format!("${g}$"), format!("{g}."), format!("\\({g}\\)")], true);
        score.all("style", g, &[format!("\\displaystyle {g}"), format!("\\color{{red}}{{{g}}}")], true);
        score.check("lead-in", g, &format!("\\text{{The answer is }} {g}"), true);
        score.check("sizing", g, &g.replace("\\left", "").replace("\\right", ""), true);
        for fraction in ["\\dfrac", "\\tfrac", "\\cfrac"] {
            score.check("fraction style", g, &g.replace("\\frac", fraction), true);
        }
        let unicode = [("\\pi", "π"), ("\\infty", "∞"), ("\\cup", "∪"), ("\\cdot", "·"), ("-", "−"), ("\\theta", "θ")]
            .iter()
            .fold(gold.clone(), |s, (from, to)| s.replace(from, to));
        score.check("unicode", g, &unicode, true);
    }
    score.finish(15_000);
}

fn grouped(n: i64, mark: &str) -> String {
    let digits = n.abs().to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push_str(mark);
        }
        out.push(c);
    }
    if n < 0 { format!("-{out}") } else { out }
}

#[test]
fn integers() {
    let Some(all) = every_gold() else { return };
    let mut score = Score::default();
    for gold in &all {
        let Some(n) =
            gold.parse::<i64>().ok().filter(|n| *n != 0 && n.abs() < 1_000_000_000 && !gold.starts_with("-0"))
        else {
            continue;
        };
        let g = gold.as_str();
        let marks = [",", "{,}", "\\,", ",\\!"].map(|m| grouped(n, m));
        score.all("thousands", g, &marks, true);
        let zeros = [format!("{n}.0"), format!("{n}.00"), format!("{n}."), format!("{n}.000")];
        score.all("zeros", g, &zeros, true);
        let sums = [
            format!("{}+{}", n - 17, 17),
            format!("\\frac{{{}}}{{7}}", n * 7),
            format!("{}-5", n + 5),
            format!("{}\\cdot 3", format_args!("\\frac{{{n}}}{{3}}")),
            format!("S = {}+{} = {n}", n - 9, 9),
        ];
        score.all("arithmetic", g, &sums, true);
        let units =
            ["\\text{ km}", " \\text{ dollars}", "\\,\\mathrm{kg}", "\\text{ m}^2", " \\text{ people}", "^\\circ"]
                .map(|u| format!("{n}{u}"));
        score.all("units", g, &units, true);
        score.all("assignments", g, &[format!("x = {n}"), format!("f(3) = {n}"), format!("{n} = N")], true);
        score.all("set", g, &[format!("\\{{{n}\\}}"), format!("\\left({n}\\right)"), format!("\\textbf{{{n}}}")], true);
        let misses = [
            (n + 1).to_string(),
            (n - 1).to_string(),
            format!("{n}.5"),
            format!("{n}.01"),
            format!("{}", n * 10),
            format!("x = {}", n + 2),
            format!("{n}x"),
            format!("{n}, {}", n + 3),
            format!("({n}, 2)"),
            format!("[{n}, {}]", n + 1),
            format!("x > {n}"),
            grouped(n + 1, "{,}"),
            format!("{n}+1"),
            format!("{n}\\text{{ or }}{}", n + 1),
        ];
        score.all("near misses", g, &misses, false);
        let scaled = [format!("{}", -n), format!("{n}\\%"), format!("{n}\\pi"), format!("{n}e3"), format!("\\pm {n}")];
        score.all("scaled", g, &scaled, false);
    }
    score.finish(20_000);
}

/// Numerator and denominator of `-\frac{a}{b}`, the sign on the numerator.
fn fraction(gold: &str) -> Option<(i64, i64)> {
    let (sign, rest) = gold.strip_prefix('-').map_or((1, gold), |rest| (-1, rest));
    let (a, b) = rest.strip_prefix("\\frac{")?.strip_suffix('}')?.split_once("}{")?;
    let (a, b): (i64, i64) = (a.parse().ok()?, b.parse().ok()?);
    (a > 0 && b > 1 && a < 1_000_000 && b < 1_000_000).then_some((sign * a, b))
}

#[test]
fn fractions() {
    let Some(all) = every_gold() else { return };
    let mut score = Score::default();
    for gold in &all {
        let Some((a, b)) = fraction(gold) else { continue };
        let g = gold.as_str();
        let (sign, p) = if a < 0 { ("-", -a) } else { ("", a) };
        let styles = [
            format!("{a}/{b}"),
            format!("{sign}{{{p} \\over {b}}}"),
            format!("\\frac{{{}}}{{{}}}", 6 * a, 6 * b),
            format!("\\frac{{{}}}{{{}}}", -a, -b),
            format!("{sign}\\left(\\frac{{{p}}}{{{b}}}\\right)"),
            format!("{a} \\div {b}"),
            format!("{a} \\cdot {b}^{{-1}}"),
            format!("x = {sign}\\dfrac {{{p}}} {{{b}}}"),
        ];
        score.all("fraction", g, &styles, true);
        if p > b && p % b != 0 {
            let (w, r) = (p / b, p % b);
            let mixed = [
                format!("{sign}{w}\\frac{{{r}}}{{{b}}}"),
                format!("{sign}{w}\\ {r}/{b}"),
                format!("{sign}{w} {r}/{b}"),
            ];
            score.all("mixed", g, &mixed, true);
            score.check("mixed, wrong", g, &format!("{sign}{}\\frac{{{r}}}{{{b}}}", w + 1), false);
        }
        if 100_000 % b == 0 {
            let value = format!("{sign}{}.{:05}", p / b, p % b * (100_000 / b));
            score.all("decimal", g, &[value.clone(), value.trim_end_matches('0').to_owned()], true);
            score.check("decimal, wrong", g, &format!("{value}1"), false);
        }
        let misses = [
            format!("\\frac{{{}}}{{{b}}}", a + 1),
            format!("\\frac{{{a}}}{{{}}}", b + 1),
            format!("\\frac{{{}}}{{{b}}}", -a),
            format!("\\frac{{{a}}}{{{b}}}\\pi"),
            format!("{a}"),
            format!("({a}, {b})"),
            format!("\\sqrt{{\\frac{{{p}}}{{{b}}}}} + {b}"),
        ];
        score.all("near misses", g, &misses, false);
    }
    score.finish(1_500);
}

/// Scalar expressions with a value: wrapped in arithmetic that changes nothing, or something.
#[test]
fn expressions() {
    let Some(all) = every_gold() else { return };
    let mut score = Score::default();
    for gold in &all {
        let Ok(answer) = read_answer(gold, &Budget::new(Budget::DEFAULT)) else { continue };
        // Words that look like products, sums that are formal, and percentages take no arithmetic.
        let Value::Scalar(expr, None) = &answer.value else { continue };
        let is_odd = |e: &Expr| {
            matches!(
                e,
                Expr::Opaque(_)
                    | Expr::Inf
                    | Expr::Range { .. }
                    | Expr::Based { .. }
                    | Expr::Percent(_)
                    | Expr::PlusMinus(..)
            ) || matches!(e, Expr::Dec(_, d) if d.digits > 8)
        };
        // `(1,600)` is a pair.
        let groups = gold.contains(',');
        if groups || expr.any(&mut |e| is_odd(e)) || gold.contains("text") || gold.contains("circ") || gold.len() > 120
        {
            continue;
        }
        let g = gold.as_str();
        let same = [
            format!("({g}) + 1 - 1"),
            format!("\\frac{{2\\left({g}\\right)}}{{2}}"),
            format!("-\\left(-\\left({g}\\right)\\right)"),
            format!("\\left[{g}\\right] \\cdot 3 / 3"),
            format!("\\frac{{1}}{{3}} + ({g}) - \\frac{{1}}{{3}}"),
        ];
        score.all("unchanged", g, &same, true);
        let other = [format!("({g}) + 1"), format!("({g}) - \\frac{{1}}{{1000}}"), format!("({g}) + i")];
        score.all("shifted", g, &other, false);
        let zero = Verifier::default().equivalent(g, "0").is_correct();
        if !zero {
            let scaled = [format!("2 ({g})"), format!("-({g})"), format!("\\frac{{{g}}}{{3}}"), format!("({g})\\pi")];
            score.all("scaled", g, &scaled, false);
        }
    }
    score.finish(8_000);
}

/// The items between the commas of a bracketed or bare list, at its top level.
fn items(list: &str) -> Vec<String> {
    let mut out = vec![String::new()];
    let mut depth = 0;
    for c in list.chars() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        match (c, out.last_mut()) {
            (',', _) if depth == 0 => out.push(String::new()),
            (_, Some(last)) => last.push(c),
            _ => {}
        }
    }
    out.iter().map(|s| s.trim().to_owned()).collect()
}

#[test]
fn collections() {
    let Some(all) = every_gold() else { return };
    let mut score = Score::default();
    for gold in &all {
        let g = gold.as_str();
        let Ok(answer) = read_answer(gold, &Budget::new(Budget::DEFAULT)) else { continue };
        if g.contains("text") || g.contains("begin") || g.contains('=') || g.contains('<') || g.contains("\\in ") {
            continue;
        }
        let plain = g.replace("\\left", "").replace("\\right", "").replace(",\\!", "");
        match &answer.value {
            Value::Row { .. } => rows_of(&mut score, g, &plain),
            Value::List(..) | Value::Set(_) => lists_of(&mut score, g, &plain),
            Value::Union(_) => {
                let mut parts: Vec<&str> = plain.split("\\cup").map(str::trim).collect();
                let first_only = parts[..parts.len() - 1].join(" \\cup ");
                parts.reverse();
                let same = [parts.join("\\cup"), parts.join(" ∪ "), format!("x \\in {}", parts.join(" \\cup "))];
                score.all("union", g, &same, true);
                score.check("union, part", g, &first_only, false);
            }
            _ => {}
        }
    }
    score.finish(900);
}

fn rows_of(score: &mut Score, gold: &str, plain: &str) {
    let (Some(open), Some(close)) = (plain.chars().next(), plain.chars().last()) else { return };
    let parts = items(&plain[1..plain.len() - 1]);
    if parts.len() < 2 || !matches!(open, '(' | '[') || parts.iter().any(String::is_empty) {
        return;
    }
    let spaced = [
        format!("{open}{}{close}", parts.join(",\\ ")),
        format!("\\left{open} {} \\right{close}", parts.join(" , ")),
        format!("{open}{}{close}", parts.join(",\\,")),
    ];
    score.all("row", gold, &spaced, true);
    let mut longer = parts.clone();
    longer.push("97".to_owned());
    let mut moved = parts.clone();
    moved[0] = format!("{} - 1", parts[0]);
    let mut misses = vec![format!("{open}{}{close}", longer.join(", "))];
    if !parts[0].contains("infty") {
        misses.push(format!("{open}{}{close}", moved.join(", ")));
    }
    let interval = parts.len() == 2 && (open == '[' || close == ']' || plain.contains("infty"));
    if interval {
        score.check("interval, member", gold, &format!("x \\in {plain}"), true);
        let flipped = |c: char| match c {
            '(' => '[',
            '[' => '(',
            ')' => ']',
            _ => ')',
        };
        if !parts[0].contains("infty") {
            misses.push(format!("{}{}, {}{close}", flipped(open), parts[0], parts[1]));
        }
        if !parts[1].contains("infty") {
            misses.push(format!("{open}{}, {}{}", parts[0], parts[1], flipped(close)));
        }
    } else if parts.first() != parts.last() {
        let reversed: Vec<&str> = parts.iter().rev().map(String::as_str).collect();
        let palindrome = Verifier::default().equivalent(&parts.join(";"), &reversed.join(";")).is_correct()
            && Verifier::default().equivalent(&parts[0], reversed[0]).is_correct();
        if !palindrome {
            misses.push(format!("{open}{}{close}", reversed.join(", ")));
        }
    }
    score.all("row, near miss", gold, &misses, false);
}

fn lists_of(score: &mut Score, gold: &str, plain: &str) {
    let bare = plain.trim_start_matches("\\{").trim_end_matches("\\}");
    let mut parts = items(bare);
    let distinct = parts.iter().collect::<std::collections::BTreeSet<_>>().len() == parts.len();
    if parts.len() < 2 || !distinct || parts.iter().any(|p| p.is_empty() || p.contains("ldots") || p.contains("\\pm")) {
        return;
    }
    let shorter = parts[1..].join(", ");
    parts.reverse();
    let (last, front) = (parts[parts.len() - 1].clone(), parts[..parts.len() - 1].join(", "));
    let same = [
        parts.join(", "),
        parts.join("; "),
        parts.join(" \\text{ and } "),
        parts.join(" \\text{ or } "),
        parts.join(",\\quad "),
        format!("\\{{{}\\}}", parts.join(", ")),
        format!("{front}, \\text{{ and }} {last}"),
        format!("{front} and {last}"),
    ];
    score.all("list", gold, &same, true);
    score.check("list, part", gold, &shorter, false);
    score.check("list, more", gold, &format!("{}, 9797", parts.join(", ")), false);
    score.check("list, moved", gold, &format!("{}, {last} + 9797", parts[..parts.len() - 1].join(", ")), false);
}
