//! Answers as they are laid out: lines, colours, side conditions, units set in other ways; and what must stay apart.

#[path = "common/pairs.rs"]
mod pairs;

use pairs::check;
use rasft_math::Verifier;

#[test]
fn lines_and_decoration() {
    check(
        &[
            ("5", "\\begin{aligned} x &= 2+3 \\\\ &= 5 \\end{aligned}"),
            ("x=1, y=2", "\\begin{aligned} x &= 1 \\\\ y &= 2 \\end{aligned}"),
            ("-2, 1", "1 \\\\ -2"),
            ("-7", "\\textcolor{blue}{-7}"),
            ("[1, 2)", "{[1, 2).}"),
            ("x \\le 9", "\\text{all } x \\text{ such that } x \\le 9"),
            ("5.18\\%", "5.18 \\text{ per cent}"),
            ("\\text{June 6}", "June 6"),
            ("-\\frac{5809}{990}", "-5\\ 859/990"),
        ],
        true,
    );
    check(
        &[("\\text{June 6}", "June 7"), ("-2, 1", "1 \\\\ 2"), ("5\\ 859", "5"), ("\\text{June 6}", "6 June")],
        false,
    );
}

#[test]
fn lists_of_three_digit_numbers() {
    check(&[("27,54,108,135,189,216", "216, 189, 135, 108, 54, 27"), ("1,234,567", "1234567")], true);
    check(&[("27,54,108,135", "27, 54, 108135"), ("108,135", "108, 135")], false);
}

#[test]
fn side_conditions() {
    let gold = "\\frac{\\pi}{6}+2 k \\pi, k \\in \\mathbb{Z}";
    check(
        &[
            (gold, "2k\\pi + \\frac{\\pi}{6} \\quad (k \\in \\mathbb{Z})"),
            (gold, "\\frac{\\pi}{6}+2\\pi k"),
            ("x \\ne 2, x \\ne -2", "x \\neq \\pm 2"),
            ("x \\ne 2, x \\ne -2", "x \\neq -2, 2"),
            ("(a,b,c)=(1,2,3)", "a=1, b=2, c=3"),
            ("(a,b)=(1,2)", "b=2, a=1"),
        ],
        true,
    );
    check(
        &[
            (gold, "\\frac{\\pi}{3}+2\\pi k"),
            ("x \\ne 2, x \\ne -2", "x \\ne 2"),
            ("x \\ne 2", "x = 2"),
            ("(a,b)=(1,2)", "a=2, b=1"),
            ("x \\in \\mathbb{R}", "x \\in \\mathbb{Z}"),
        ],
        false,
    );
}

#[test]
fn equations_with_denominators() {
    check(
        &[
            ("h(x) = \\frac{-9x-\\frac72}{3x-1}", "-\\frac{9x}{3x-1}-\\frac{7}{6x-2} = h(x)"),
            ("y = \\frac{e^x}{x}", "xy = e^x"),
            ("y = \\frac{\\sqrt{x}}{x+1}", "(x+1)y - \\sqrt{x} = 0"),
            ("\\frac{x}{2}+\\frac{y}{3}=1", "3x+2y=6"),
        ],
        true,
    );
    check(
        &[
            ("y = \\frac{1}{x}", "y = \\frac{1}{x+1}"),
            ("y = \\frac{x}{x-1}", "y = \\frac{x^2}{x-1}"),
            ("y = \\frac{e^x}{x}", "xy = e^{2x}"),
            ("y = \\frac{e^x}{x}", "y = e^x"),
        ],
        false,
    );
}

#[test]
fn choices_and_number_words() {
    check(&[("B", "option B"), ("\\text{(B)}", "Choice (B)"), ("\\frac12", "one half"), ("-5", "minus five")], true);
    check(&[("B", "option C"), ("\\frac12", "one third"), ("5", "minus five"), ("\\frac13", "third")], false);
    let verifier = Verifier::default();
    for response in
        ["We have 3+4=7.\n\nHence option B is correct.", "7 it is.\n\n(B) is the answer", "I choose B.", "**B**"]
    {
        assert!(verifier.verify("B", response).is_correct(), "{response}");
        assert!(!verifier.verify("C", response).is_correct(), "{response}");
    }
}

#[test]
fn units_and_angles() {
    check(
        &[
            ("5 \\mathrm{~m/s}", "5 \\mathrm{~m} \\cdot \\mathrm{s}^{-1}"),
            ("12 \\text{ hours}", "12h"),
            ("\\$ 1.50 / \\mathrm{lb}", "1.5"),
            ("101101_{\\mathrm{two}}", "101101_2"),
            ("2 \\text{ hours}", "120 \\text{ min}"),
            ("60^\\circ", "\\frac{\\pi}{3}"),
            ("-45^{\\circ}", "-\\frac{\\pi}{4}"),
        ],
        true,
    );
    check(
        &[
            ("12 \\text{ hours}", "12x"),
            ("87 \\text{ apples}", "87m"),
            ("60^\\circ", "\\frac{\\pi}{6}"),
            ("60", "\\frac{\\pi}{3}"),
            ("12 \\text{ hours}", "12s"),
        ],
        false,
    );
}

#[test]
fn steps_are_tested_at_every_residue() {
    check(
        &[
            ("\\lceil \\frac{n}{2} \\rceil", "\\lfloor \\frac{n+1}{2} \\rfloor"),
            ("\\lfloor \\frac{n}{2} \\rfloor + \\lceil \\frac{n}{2} \\rceil", "n"),
            ("\\lfloor \\frac{2n-1}{5} \\rfloor", "\\lceil \\frac{2n-5}{5} \\rceil"),
        ],
        true,
    );
    check(
        &[
            ("\\lfloor \\log_2 n \\rfloor + 1", "\\lfloor \\log_2(n+1) \\rfloor + 1"),
            ("\\lfloor \\frac{2n-1}{5} \\rfloor", "\\lfloor \\frac{2n+1}{5} \\rfloor"),
            ("\\lfloor \\frac{n}{7} \\rfloor", "\\lfloor \\frac{n+1}{7} \\rfloor"),
            ("\\gcd(n, 12)", "\\gcd(n, 6)"),
        ],
        false,
    );
}

#[test]
fn endings_without_a_box() {
    let verifier = Verifier::default();
    for (gold, response) in [
        ("12", "So, the total cost is $5 + $7 = $12."),
        ("5:12", "The ratio is 5:12."),
        ("0.0015", "The mass is 1.5e-3 kg."),
        ("12.5", "The area is 12.5 cm²."),
        ("3,5", "So $x=3$ or $x=5$."),
        ("3,5", "So it is $3$ and $5$."),
        ("5", "With $a=2$ and $x=5$."),
        ("1250.50", "Therefore, she earned $1,250.50 in total."),
        ("18", "Janet makes 9 * 2 = $18 every day."),
        ("-7/2", "which gives x = -7/2."),
    ] {
        let report = verifier.verify(gold, response);
        assert!(report.is_correct(), "{gold} {response}: {report:?}");
    }
}
