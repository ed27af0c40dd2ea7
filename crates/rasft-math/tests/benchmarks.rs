//! Every gold answer of the benchmarks equals itself however it is spaced and wrapped, and not its neighbour.

mod common;
#[path = "common/golds.rs"]
mod golds;

use common::shared;
use golds::{BENCHMARKS, golds};
use rasft_math::Verifier;

/// More blanks, where LaTeX ignores them: after groups and before commands.
fn respaced(gold: &str) -> String {
    let chars: Vec<char> = gold.chars().collect();
    let mut out = String::new();
    let mut in_text = 0i32;
    for (i, c) in chars.iter().enumerate() {
        let next = chars.get(i + 1).copied().unwrap_or(' ');
        if *c == '\\' && next.is_ascii_alphabetic() {
            let rest: String = chars[i + 1..].iter().take(12).collect();
            if ["text", "mbox", "mathrm", "begin", "end", "operatorname"].iter().any(|w| rest.starts_with(w)) {
                in_text = 1;
            }
            out.push(' ');
        }
        out.push(*c);
        match c {
            '}' if in_text > 0 => in_text = 0,
            '}' | '+' | '=' => out.push(' '),
            ',' if next == ' ' => out.push(' '),
            _ => {}
        }
    }
    out
}

#[test]
fn gold_answers() {
    let Some(shared) = shared() else { return };
    let verifier = Verifier::default();
    let mut failures = Vec::new();
    let mut n = 0;
    let mut unreadable = 0;
    for bench in BENCHMARKS {
        let all = golds(&shared, bench);
        for (i, gold) in all.iter().enumerate() {
            n += 1;
            let form = verifier.equivalent(gold, gold);
            if !form.is_correct() {
                failures.push(format!("{bench}: {gold:?} is not itself"));
            }
            unreadable += usize::from(
                rasft_math::answer::read_answer(gold, &rasft_math::Budget::new(100_000))
                    .is_ok_and(|a| !a.is_readable()),
            );
            let again = respaced(gold);
            if !verifier.equivalent(gold, &again).is_correct() {
                failures.push(format!("{bench}: {gold:?} is not {again:?}"));
            }
            let bare = gold.trim().trim_matches('$');
            for wrapped in
                [format!("So $\\boxed{{{bare}}}$."), format!("\\[\\boxed{{ {bare} }}\\] as was to be shown.")]
            {
                if !gold.contains('$') && !verifier.verify(gold, &wrapped).is_correct() {
                    failures.push(format!("{bench}: {gold:?} is not {wrapped:?}"));
                }
            }
            let neighbour = &all[(i + 1) % all.len()];
            let (there, back) =
                (verifier.equivalent(gold, neighbour).is_correct(), verifier.equivalent(neighbour, gold).is_correct());
            if there != back {
                failures.push(format!("{bench}: {gold:?} and {neighbour:?} are equal one way only"));
            }
            if there && !is_equal_by_hand(gold, neighbour) {
                failures.push(format!("{bench}: {gold:?} is its neighbour {neighbour:?}"));
            }
        }
    }
    println!("{n} gold answers, {unreadable} comparable only as written, {} failures", failures.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Neighbours that are equal: the same text, the same decimal, or pairs checked by hand.
fn is_equal_by_hand(a: &str, b: &str) -> bool {
    let plain = |s: &str| s.replace([' ', '$', ','], "");
    let (a, b) = (plain(a), plain(b));
    if a == b || a.parse::<f64>().ok().zip(b.parse::<f64>().ok()).is_some_and(|(x, y)| x == y) {
        return true;
    }
    const PAIRS: [(&str, &str); 1] = [("5", "x=5")];
    PAIRS.contains(&(a.as_str(), b.as_str())) || PAIRS.contains(&(b.as_str(), a.as_str()))
}
