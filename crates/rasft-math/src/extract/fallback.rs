//! Without box or phrase: the last line that holds mathematics.

use super::{Extracted, Source};
use crate::answer::{choice_letter, strip_markup};

/// The last `$…$` or number of the last line that has one.
pub(super) fn last_line(text: &str) -> Option<Extracted> {
    // A line that is only a choice's letter: `**B**`, `(B)`.
    let closing = text.lines().rev().map(strip_markup).find(|line| !line.is_empty())?;
    if matches!(choice_letter(closing), Some((_, true))) && closing.len() <= 24 {
        return Some(Extracted::new(closing, Source::LastMath));
    }
    if let Some(letter) = named_choice(closing) {
        return Some(Extracted::new(letter, Source::Phrase));
    }
    text.lines().rev().find_map(|line| last_math(line).or_else(|| last_number(line)))
}

/// The letter in "option B is correct", "I choose (C)", "(A) is the answer".
fn named_choice(line: &str) -> Option<&str> {
    let bare = |w: &'_ str| -> Option<usize> {
        let inner = w.trim_matches(|c: char| matches!(c, '(' | ')' | '*' | '.' | ',' | ':' | '$'));
        let single = inner.len() == 1 && inner.starts_with(|c: char| ('A'..='J').contains(&c));
        single.then(|| inner.as_ptr() as usize - line.as_ptr() as usize)
    };
    let words: Vec<&str> = line.split_whitespace().collect();
    let said = |w: &str| matches!(w.to_ascii_lowercase().as_str(), "option" | "choice" | "choose" | "pick" | "select");
    let named = words.windows(2).filter(|w| said(w[0])).filter_map(|w| bare(w[1])).next_back();
    let judged = words.iter().any(|w| w.starts_with("answer") || w.starts_with("correct"));
    let bracketed = |w: &&&str| w.starts_with('(') && w.len() < 6;
    let at = named.or_else(|| words.iter().filter(bracketed).filter_map(|w| bare(w)).next_back().filter(|_| judged))?;
    line.get(at..=at)
}

/// The line's last formula, with those of the same kind that "and", "or" or a comma joins to it.
fn last_math(line: &str) -> Option<Extracted> {
    let mut formulas: Vec<(usize, usize)> = Vec::new();
    let mut dollars = line.match_indices('$').map(|(i, _)| i).filter(|i| !line[..*i].ends_with('\\'));
    while let (Some(a), Some(b)) = (dollars.next(), dollars.next()) {
        // `$5 + $7` is money.
        let money = line[..b].ends_with(char::is_whitespace) && !line[a + 1..].starts_with(char::is_whitespace);
        if b > a + 1 && !money {
            formulas.push((a + 1, b));
        }
    }
    if let (Some(a), Some(b)) = (line.rfind("\\("), line.rfind("\\)"))
        && b > a + 2
    {
        formulas = vec![(a + 2, b)];
    }
    // A formula's answer follows its last equals sign, which the reader knows; money (`$5 and $6`) is no formula.
    let text = |(a, b): (usize, usize)| line[a..b].trim();
    let mut first = formulas.len().checked_sub(1)?;
    let name = |c: &str| c.split_once('=').map(|(name, _)| name.trim().to_owned());
    while let Some(before) = first.checked_sub(1) {
        let gap = line.get(formulas[before].1 + 1..formulas[first].0.saturating_sub(1)).unwrap_or_default();
        let joined = matches!(gap.trim_matches(|c: char| c == ',' || c.is_whitespace()), "" | "and" | "or");
        if !joined || gap.is_empty() || name(text(formulas[before])) != name(text(formulas[first])) {
            break;
        }
        first = before;
    }
    let content: Vec<&str> = formulas[first..].iter().map(|f| text(*f)).collect();
    let content = content.join(", ");
    (!content.is_empty() && !content.contains(" and ")).then(|| Extracted::new(&content, Source::LastMath))
}

/// Raised or lowered digits belong to a unit or an expression: cm².
fn is_script(c: char) -> bool {
    matches!(c, '²' | '³' | '¹' | '\u{2070}'..='\u{209f}')
}

/// The last number of a line: digits with separators, decimals, a simple fraction, a sign that is not a minus between
/// two numbers.
fn last_number(line: &str) -> Option<Extracted> {
    let chars: Vec<(usize, char)> = line.char_indices().collect();
    let is_digit = |i: usize| chars.get(i).is_some_and(|(_, c)| c.is_numeric() && !is_script(*c));
    let is_one_of = |i: usize, set: &[char]| chars.get(i).is_some_and(|(_, c)| set.contains(c));
    let mut end = (0..chars.len()).rev().find(|i| is_digit(*i))? + 1;
    let mut start = end - 1;
    let mut points = 0;
    while start > 0 {
        let c = chars[start - 1].1;
        let joins = matches!(c, ',' | '/' | ':') && start > 1 && is_digit(start - 2);
        // 1.5e-3
        let signed = usize::from(is_one_of(start - 1, &['-', '+']));
        let letter = start.checked_sub(signed + 1).filter(|e| is_one_of(*e, &['e', 'E']));
        if let Some(e) = letter.filter(|e| *e > 0 && is_digit(e - 1)) {
            start = e;
            points = 0;
            continue;
        }
        let point = c == '.' && points == 0;
        if !(is_digit(start - 1) || joins || point) {
            break;
        }
        points = if point {
            1
        } else if matches!(c, '/' | ':') {
            0
        } else {
            points
        };
        start -= 1;
    }
    // A minus right after a digit, letter or bracket subtracts; otherwise it is a sign.
    if let Some(i) = start.checked_sub(1).filter(|i| matches!(chars[*i].1, '-' | '−'))
        && !i.checked_sub(1).is_some_and(|j| chars[j].1.is_alphanumeric() || matches!(chars[j].1, ')' | '}'))
    {
        start = i;
    }
    if chars.get(end).is_some_and(|(_, c)| *c == '%') {
        end += 1;
    }
    let from = chars[start].0;
    let to = chars.get(end).map_or(line.len(), |(i, _)| *i);
    Some(Extracted::new(&line[from..to], Source::LastNumber))
}
