//! `\boxed{…}` and `\fbox{…}`.

use super::{Extracted, Source};

/// What the search for boxes found.
pub(super) enum Found {
    /// Boxes with content.
    Content(Extracted),
    /// Only empty boxes, or one cut off before its content.
    Empty,
    /// No box.
    None,
}

/// A box: where its command starts, where it ends, and its content.
struct Boxed<'a> {
    start: usize,
    end: usize,
    content: &'a str,
    truncated: bool,
}

/// The last box that is not empty, with the ones joined to it.
pub(super) fn last(text: &str) -> Found {
    let commands = commands(text);
    for (i, start) in commands.iter().enumerate().rev() {
        if let Some(found) = open(text, *start) {
            if found.content.trim().is_empty() {
                // An empty last box takes the answer back: an earlier one is not it.
                return Found::Empty;
            }
            return Found::Content(with_neighbours(text, found, &commands[..i]));
        }
    }
    if commands.is_empty() { Found::None } else { Found::Empty }
}

/// Where box commands start, in order.
fn commands(text: &str) -> Vec<usize> {
    let mut all: Vec<usize> =
        text.match_indices("\\boxed").chain(text.match_indices("\\fbox")).map(|(i, _)| i).collect();
    all.sort_unstable();
    all
}

/// The box whose command starts at `start`; `None` for a bare word like `\boxedtext`.
fn open(text: &str, start: usize) -> Option<Boxed<'_>> {
    let name = if text[start..].starts_with("\\boxed") { 6 } else { 5 };
    let after = &text[start + name..];
    let blanks = after.len() - after.trim_start().len();
    let from = start + name + blanks;
    let body = &text[from..];
    if !body.starts_with('{') {
        if body.starts_with(|c: char| c.is_ascii_alphabetic()) && blanks == 0 {
            return None;
        }
        // `\boxed 5`: up to the end of the token.
        let stop = body.find(|c: char| c.is_whitespace() || matches!(c, '$' | '}' | ',' | '*')).unwrap_or(body.len());
        let content = body[..stop].trim_end_matches(['.', ';']);
        return Some(Boxed { start, end: from + stop, content, truncated: false });
    }
    if let Some(close) = matching_brace(body) {
        return Some(inner(Boxed { start, end: from + close + 1, content: &body[1..close], truncated: false }));
    }
    // Cut off: what there is of it, to the end of its line or formula.
    let stop = body.find(['\n', '$']).unwrap_or(body.len());
    Some(Boxed { start, end: text.len(), content: &body[1..stop.max(1)], truncated: true })
}

/// A box directly within a box is one box.
fn inner(outer: Boxed<'_>) -> Boxed<'_> {
    let mut content = outer.content.trim();
    loop {
        let rest = content.strip_prefix("\\boxed").or_else(|| content.strip_prefix("\\fbox")).map(str::trim_start);
        match rest {
            Some(rest) if rest.starts_with('{') && matching_brace(rest) == Some(rest.len() - 1) => {
                content = rest[1..rest.len() - 1].trim()
            }
            _ => return Boxed { content, ..outer },
        }
    }
}

/// The index of the brace that closes the one `text` starts with; escaped braces do not count.
fn matching_brace(text: &str) -> Option<usize> {
    let mut level = 0usize;
    let mut escaped = false;
    for (i, b) in text.bytes().enumerate() {
        match b {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'{' => level += 1,
            b'}' => {
                level = level.checked_sub(1)?;
                if level == 0 {
                    return Some(i);
                }
            }
            _ => {}
        }
    }
    None
}

/// Boxes before this one with nothing but a comma or "and" between them are part of one list.
fn with_neighbours(text: &str, last: Boxed<'_>, earlier: &[usize]) -> Extracted {
    let mut contents = vec![last.content.trim()];
    let mut start = last.start;
    for previous in earlier.iter().rev() {
        let Some(found) = open(&text[..start], *previous) else { break };
        if found.truncated || found.content.trim().is_empty() || !is_joint(&text[found.end..start]) {
            break;
        }
        contents.push(found.content.trim());
        start = found.start;
    }
    if contents.len() == 1 {
        let source = if last.truncated { Source::TruncatedBox } else { Source::Boxed };
        return Extracted::new(last.content, source);
    }
    contents.reverse();
    Extracted::new(&contents.join(", "), Source::Boxes)
}

/// Whether the text between two boxes only joins them.
fn is_joint(gap: &str) -> bool {
    if gap.len() > 60 {
        return false;
    }
    let mut rest = gap;
    let mut joined = false;
    while let Some(c) = rest.chars().next() {
        if c.is_whitespace() || matches!(c, '$' | '{' | '}' | '*' | '~') {
            rest = &rest[c.len_utf8()..];
            continue;
        }
        if matches!(c, ',' | ';' | '，') {
            joined = true;
            rest = &rest[c.len_utf8()..];
            continue;
        }
        let word = ["and", "or"].into_iter().find(|w| rest.starts_with(w));
        if let Some(word) = word {
            joined = true;
            rest = &rest[word.len()..];
            continue;
        }
        let layout = ["\\text", "\\quad", "\\qquad", "\\mathrm", "\\(", "\\)", "\\,", "\\;", "\\ "]
            .into_iter()
            .find(|w| rest.starts_with(w));
        match layout {
            Some(word) => rest = &rest[word.len()..],
            None => return false,
        }
    }
    joined
}
