//! Inputs made to hurt: each ends within the budget, none is called equal to what it is not.

use rasft_math::{Verifier, extract};
use std::time::Instant;

fn hostile() -> Vec<String> {
    let nest = |open: &str, core: &str, close: &str, n: usize| format!("{}{core}{}", open.repeat(n), close.repeat(n));
    vec![
        nest("{", "7", "}", 50_000),
        nest("(", "7", ")", 50_000),
        nest("\\left(", "7", "\\right)", 10_000),
        nest("\\sqrt{", "7", "}", 5_000),
        nest("\\frac{1}{1+", "7", "}", 5_000),
        nest("\\frac{1}{1+", "x", "}", 60),
        nest("[(", "7", ")]", 20_000),
        nest("\\text{", "7", "}", 5_000),
        nest("\\boxed{", "7", "}", 5_000),
        nest("x^{", "x", "}", 3_000),
        nest("x^{", "x", "}", 40),
        "{".repeat(100_000),
        "}".repeat(100_000),
        "(".repeat(100_000),
        "\\frac".repeat(20_000),
        "\\sqrt".repeat(20_000),
        "-".repeat(100_000),
        "|".repeat(50_000),
        "^".repeat(50_000),
        "x^".repeat(20_000) + "2",
        "2^".repeat(300) + "2",
        "1,".repeat(50_000),
        "(1,2),".repeat(5_000),
        "x+".repeat(20_000) + "1",
        "(x+1)".repeat(2_000),
        "\\sin x \\cos y ".repeat(2_000),
        "\\pm 1".repeat(2_000),
        "7".repeat(100_000),
        format!("0.{}", "7".repeat(15_000)),
        format!("\\frac{{{}}}{{{}}}", "7".repeat(15_000), "9".repeat(15_001)),
        "1/7+".repeat(3_000) + "1",
        (1..400).map(|n| format!("\\frac{{1}}{{{n}}}+")).collect::<String>() + "1",
        (1..400).map(|n| format!("\\sqrt{{{n}}}+")).collect::<String>() + "1",
        (1..200).map(|n| format!("\\frac{{x}}{{x+{n}}}+")).collect::<String>() + "\\sqrt x",
        "9^{9^{9^{9}}}".to_owned(),
        "100000!".to_owned(),
        "3000!".to_owned(),
        "3000!/2999!".to_owned(),
        "(10^{100})!".to_owned(),
        "\\binom{100000}{50000}".to_owned(),
        "\\binom{5000}{2500}".to_owned(),
        "2^{59000}-1".to_owned(),
        "(x+1)^{5000}".to_owned(),
        "(x+1)^{10^{18}}".to_owned(),
        "\\sum_{k=1}^{10^9} k^k".to_owned(),
        "\\sum_{k=1}^{2000} k^{50}".to_owned(),
        "\\sum_{k=1}^{2000} \\sin(kx)".to_owned(),
        "\\sum_{k=1}^{2000} \\frac{1}{k}".to_owned(),
        "\\sum_{i=1}^{100} \\sum_{j=1}^{100} \\sum_{k=1}^{100} ijk".to_owned(),
        "\\prod_{k=1}^{1000} (x+k)".to_owned(),
        "\\gcd(10^{5000}, 6^{7000})+1".to_owned(),
        "\\log_2(\\log_3(\\log_4 x))".to_owned(),
        "1e99999999999".to_owned(),
        "1e5000".to_owned(),
        "1e-5000".to_owned(),
        "\\frac{0}{0}".to_owned(),
        "\\int_0^1 x^x dx".to_owned(),
        "e^{e^{e^{e^{e}}}}".to_owned(),
        "\\tan(\\frac{\\pi}{2})".to_owned(),
        "\\ln 0".to_owned(),
        format!("\\text{{{}}}", "la".repeat(40_000)),
        "word ".repeat(20_000),
        "\u{202e}\u{200b}\u{0}\u{feff}".repeat(1_000),
        "\\begin{pmatrix}".repeat(3_000),
        format!("\\begin{{pmatrix}}{}\\end{{pmatrix}}", "1&2\\\\".repeat(3_000)),
        "(-\\infty,1)\\cup".repeat(2_000) + "(2,3)",
        "x<1 \\text{ and } ".repeat(2_000) + "x>0",
        "\\{x\\mid ".repeat(500),
        "1:".repeat(5_000) + "2",
        "a=".repeat(5_000) + "2",
        "5\\ \\text{km}".repeat(2_000),
        "$".repeat(100_000),
        "\\boxed{} ".repeat(10_000),
        "\\boxed{1}, ".repeat(10_000),
        "\\boxed{".repeat(20_000),
        "answer is ".repeat(10_000),
        "#### ".repeat(10_000),
    ]
}

#[test]
fn hostile_inputs_end() {
    let verifier = Verifier::default();
    let mut slowest = Vec::new();
    let inputs = hostile();
    for (i, text) in inputs.iter().enumerate() {
        let head: String = text.chars().take(40).collect();
        let start = Instant::now();
        let other = verifier.equivalent("123456", text);
        let alone = start.elapsed();
        assert!(!other.is_correct(), "{head}");
        let start = Instant::now();
        let _ = verifier.equivalent(&inputs[(i + 1) % inputs.len()], text);
        let pair = start.elapsed();
        let start = Instant::now();
        let _ = verifier.verify("123456", text);
        let respaced = format!("{text} ");
        let _ = verifier.equivalent(text, &format!("0+{respaced}"));
        let _ = extract(text);
        slowest.push((alone.max(pair).max(start.elapsed() / 2), head, other.outcome));
    }
    slowest.sort_by_key(|s| std::cmp::Reverse(s.0));
    for (time, head, outcome) in slowest.iter().take(16) {
        println!("{:>8.2} ms  {:?}  {head}", time.as_secs_f64() * 1e3, outcome);
    }
}

#[test]
fn budgets_are_reported() {
    let verifier = Verifier::default();
    for text in ["9^{9^{9^{9}}}", "100000!", "\\sum_{k=1}^{10^9} k^k"] {
        assert_eq!(verifier.equivalent("64", text).outcome, rasft_types::Outcome::Budget, "{text}");
        assert!(verifier.equivalent(text, text).is_correct(), "{text}");
    }
}
