//! Splitting a range of tokens at its top level.

use super::Joint;
use crate::lex::{Kind, Stream};

/// Calls `f` on each index of `start..end` that is not inside brackets.
pub(super) fn top_level(stream: &Stream, start: usize, end: usize, mut f: impl FnMut(usize, &Kind)) {
    let mut i = start;
    while i < end {
        let Some(kind) = stream.kind(i) else { return };
        f(i, kind);
        if kind.opens().is_some()
            && let Some(p) = stream.partner(i).filter(|p| *p > i && *p < end)
        {
            i = p;
        }
        i += 1;
    }
}

/// Whether a token joins the items of a list.
pub(super) fn joint(kind: &Kind) -> Option<Joint> {
    match kind {
        Kind::Op(',' | ';') => Some(Joint::Comma),
        Kind::Text(t) | Kind::Word(t) => {
            match t.trim_matches(|c: char| !c.is_alphabetic()).to_ascii_lowercase().as_str() {
                "and" => Some(Joint::And),
                "or" => Some(Joint::Or),
                _ => None,
            }
        }
        Kind::Cmd(c) if matches!(c.as_str(), "wedge" | "land") => Some(Joint::And),
        Kind::Cmd(c) if matches!(c.as_str(), "vee" | "lor") => Some(Joint::Or),
        _ => None,
    }
}

/// A line break lists things unless the next line goes on with a relation: `x = 2 + 3 \\ = 5` is one chain.
fn line_break(stream: &Stream, at: usize, end: usize) -> Option<Joint> {
    let goes_on = (at + 1..end).find_map(|i| stream.kind(i)).is_some_and(|k| super::relation::relation(k).is_some());
    (!goes_on).then_some(Joint::Comma)
}

/// The non-empty parts between joints, and the strongest joint seen.
pub(super) fn parts(stream: &Stream, start: usize, end: usize) -> (Vec<(usize, usize)>, Joint) {
    let mut out = Vec::new();
    let mut from = start;
    let mut strongest = Joint::Comma;
    top_level(stream, start, end, |i, kind| {
        let joined = if *kind == Kind::Op('\n') { line_break(stream, i, end) } else { joint(kind) };
        if let Some(j) = joined {
            if i > from {
                out.push((from, i));
            }
            from = i + 1;
            if j != Joint::Comma {
                strongest = j;
            }
        }
    });
    if end > from {
        out.push((from, end));
    }
    (out, strongest)
}

/// The parts between occurrences of an operator, empty ones included.
pub(super) fn by_op(stream: &Stream, start: usize, end: usize, op: char) -> Vec<(usize, usize)> {
    let mut out = Vec::new();
    let mut from = start;
    top_level(stream, start, end, |i, kind| {
        if *kind == Kind::Op(op) {
            out.push((from, i));
            from = i + 1;
        }
    });
    out.push((from, end));
    out
}
