//! Answers in words.

use super::Value;
use crate::expr::Expr;
use crate::lex::{Bracket, Kind, Stream};
use crate::words::value_from_words;

/// The words of an answer that is nothing but words; `None` for mathematics.
///
/// Letters alone are ambiguous: `xy` is a product, `no` and `ellipse` are words. Text commands are words, so is any run
/// of three letters or more that names no function, and everything beside such a run.
pub(super) fn words_of(stream: &Stream) -> Option<String> {
    let mut words: Vec<&str> = Vec::new();
    let mut certain = false;
    // What a lead-in leads to decides: "Answer: C" is a letter.
    let lead = stream.tokens.iter().take_while(|t| matches!(&t.kind, Kind::Text(t) if is_lead(t))).count();
    let lead = if lead < stream.tokens.len() { lead } else { 0 };
    for token in &stream.tokens[lead..] {
        match &token.kind {
            Kind::Text(t) => {
                certain = true;
                words.push(t);
            }
            Kind::Word(w) => {
                if crate::parse::is_function_name(w)
                    || (w.len() > 1 && matches!(w.as_str(), "pi" | "oo" | "inf" | "infinity" | "sqrt"))
                {
                    return None;
                }
                certain |= w.len() > 2 || is_short_word(w);
                words.push(w);
            }
            Kind::Op('.' | ',' | '-' | '!' | '?' | ';' | ':' | '\'' | '"')
            | Kind::Open(Bracket::Brace)
            | Kind::Close(Bracket::Brace) => {}
            _ => return None,
        }
    }
    let separated = stream.tokens.iter().any(|t| matches!(t.kind, Kind::Op(',' | ';')));
    let list_of_letters = separated && !words.iter().any(|w| w.len() > 2 && !matches!(*w, "and"));
    (certain && !list_of_letters && !words.is_empty()).then(|| words.join(" "))
}

fn is_short_word(w: &str) -> bool {
    matches!(w.to_ascii_lowercase().as_str(), "no" | "up" | "ok" | "na" | "dne" | "it" | "is")
}

/// Words as a value: a number in words, or words; "the answer is" and the like are dropped.
pub(super) fn word_value(words: &str) -> Value {
    let kept = strip_lead(words);
    // "four dollars" is 4; "one to one" is not 1.
    let unit = kept.rsplit(' ').take_while(|w| crate::units::is_unit(w)).map(|w| w.len() + 1).sum::<usize>();
    let number = kept.get(..kept.len().saturating_sub(unit)).filter(|n| !n.is_empty()).unwrap_or(kept);
    match value_from_words(number) {
        Some(n) => Value::Scalar(Expr::Num(n), None),
        None => Value::Words(normal_words(kept)),
    }
}

/// Whether words only introduce what follows them.
pub(super) fn is_lead(words: &str) -> bool {
    words.ends_with(':') || strip_lead(words).is_empty()
}

/// What follows "answer:", "the answer is" and the like.
pub(super) fn strip_lead(words: &str) -> &str {
    let mut rest = words.trim();
    for lead in ["the ", "final ", "correct ", "answer", " is", ":"] {
        let head = rest.get(..lead.len()).unwrap_or_default();
        if head.eq_ignore_ascii_case(lead) {
            rest = &rest[lead.len()..];
        }
    }
    let consumed = words.trim().len() - rest.len();
    // "the ellipse" loses its article in normal_words; here only a full lead-in goes.
    if consumed >= "answer".len() { rest.trim() } else { words.trim() }
}

/// Lower case, single blanks, no punctuation or articles, a few synonyms.
pub fn normal_words(text: &str) -> String {
    let lower = text.to_lowercase();
    let words: Vec<&str> = lower
        .split(|c: char| !(c.is_alphanumeric() || c == '\''))
        .map(|w| w.trim_matches('\''))
        .filter(|w| !w.is_empty() && !matches!(*w, "the" | "a" | "an"))
        .collect();
    let joined = words.join(" ");
    match joined.as_str() {
        "no solutions" | "there is no solution" | "there are no solutions" | "has no solution" => {
            "no solution".to_owned()
        }
        "dne" | "doesn't exist" | "limit does not exist" | "it does not exist" => "does not exist".to_owned(),
        "y" => "yes".to_owned(),
        "it is undefined" | "not defined" => "undefined".to_owned(),
        _ => joined,
    }
}

/// Whether one normalised phrase says the same as another: equal, or a one-word verdict followed by its reason.
pub fn is_word_answer(a: &str, b: &str) -> bool {
    if a == b {
        return true;
    }
    for (short, long) in [(a, b), (b, a)] {
        // "yes, because …"
        let reason = long.strip_prefix(short).and_then(|r| r.strip_prefix(' ')).and_then(|r| r.split(' ').next());
        let explains = matches!(
            reason,
            Some("it" | "they" | "he" | "she" | "we" | "there" | "this" | "that" | "because" | "since")
        );
        if matches!(short, "yes" | "no" | "true" | "false") && explains {
            return true;
        }
    }
    // "no real solutions" and "no real solution"
    let singular = |s: &str| {
        s.split(' ').map(|w| if w.len() > 4 { w.trim_end_matches('s') } else { w }).collect::<Vec<_>>().join(" ")
    };
    if singular(a) == singular(b) {
        return true;
    }
    let squeezed = |s: &str| s.replace([' ', '\''], "");
    squeezed(a) == squeezed(b)
}
