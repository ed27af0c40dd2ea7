//! Number words: `twenty-five`, `one hundred and five`, `two thirds`.

use num_rational::BigRational;
use num_traits::Signed;

/// The value of a phrase that is a number in words: whole, negative ("minus five") or a fraction ("three quarters").
pub fn value_from_words(text: &str) -> Option<BigRational> {
    let text = text.trim();
    for sign in ["minus ", "negative "] {
        if text.get(..sign.len()).is_some_and(|head| head.eq_ignore_ascii_case(sign)) {
            return value_from_words(&text[sign.len()..]).filter(|v| !v.is_negative()).map(|v| -v);
        }
    }
    if let Some(n) = number_from_words(text) {
        return Some(BigRational::from_integer(n.into()));
    }
    let cut = text.rfind([' ', '-']);
    // "third" alone is an ordinal.
    let Some(cut) = cut else { return text.eq_ignore_ascii_case("half").then(|| BigRational::new(1.into(), 2.into())) };
    let (count, part) = (&text[..cut], &text[cut + 1..]);
    let denominator = denominator(&part.to_ascii_lowercase())?;
    let count = number_from_words(if count.eq_ignore_ascii_case("a") { "one" } else { count })?;
    Some(BigRational::new(count.into(), denominator.into()))
}

fn denominator(part: &str) -> Option<u64> {
    const PARTS: [&str; 8] = ["third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"];
    match part {
        "half" | "halves" => Some(2),
        "quarter" | "quarters" => Some(4),
        _ => {
            let one = part.strip_suffix('s').unwrap_or(part);
            PARTS.iter().position(|p| *p == one).map(|i| i as u64 + 3)
        }
    }
}

/// The value of a phrase that is a whole number in words, and nothing else.
pub fn number_from_words(text: &str) -> Option<u64> {
    let mut total: u64 = 0;
    let mut group: u64 = 0;
    let mut seen = false;
    // What the last word was, so that "five three" and "twenty thirty" are refused.
    let mut room: u64 = u64::MAX;
    for word in text.split(|c: char| c.is_whitespace() || c == '-').filter(|w| !w.is_empty()) {
        let word = word.trim_matches(|c: char| matches!(c, '.' | ',')).to_ascii_lowercase();
        if word == "and" && seen {
            continue;
        }
        if word == "a" && !seen {
            group = 1;
            room = 1;
            seen = true;
            continue;
        }
        match small(&word) {
            Some(n) if n < room => {
                group += n;
                room = if n >= 20 { 10 } else { 1 };
            }
            Some(_) => return None,
            None => {
                let scale = scale(&word)?;
                if !seen {
                    return None;
                }
                if scale == 100 {
                    group = group.checked_mul(100)?;
                    room = 100;
                } else {
                    total = total.checked_add(group.checked_mul(scale)?)?;
                    group = 0;
                    room = u64::MAX;
                }
            }
        }
        seen = true;
    }
    (seen && text.trim() != "a").then(|| total + group)
}

fn small(word: &str) -> Option<u64> {
    const ONES: [&str; 20] = [
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "thirteen",
        "fourteen",
        "fifteen",
        "sixteen",
        "seventeen",
        "eighteen",
        "nineteen",
    ];
    const TENS: [&str; 8] = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
    if let Some(i) = ONES.iter().position(|w| *w == word) {
        return Some(i as u64);
    }
    TENS.iter().position(|w| *w == word).map(|i| (i as u64 + 2) * 10)
}

fn scale(word: &str) -> Option<u64> {
    match word {
        "hundred" => Some(100),
        "thousand" => Some(1_000),
        "million" => Some(1_000_000),
        "billion" => Some(1_000_000_000),
        "trillion" => Some(1_000_000_000_000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{BigRational, number_from_words, value_from_words};

    #[test]
    fn fractions_and_signs() {
        for (text, n, d) in
            [("one half", 1, 2), ("three-quarters", 3, 4), ("Two thirds", 2, 3), ("minus five", -5, 1), ("half", 1, 2)]
        {
            assert_eq!(value_from_words(text), Some(BigRational::new(n.into(), d.into())), "{text}");
        }
        for text in ["third", "fifth floor", "quarters", "minus", "one east"] {
            assert_eq!(value_from_words(text), None, "{text}");
        }
    }

    #[test]
    fn reads_phrases_and_refuses_others() {
        for (text, value) in [
            ("twenty-five", 25),
            ("one hundred and five", 105),
            ("a hundred", 100),
            ("Two thousand thirteen", 2013),
            ("zero", 0),
        ] {
            assert_eq!(number_from_words(text), Some(value), "{text}");
        }
        for text in ["five three", "twenty thirty", "hundred", "east", "", "one apple", "a"] {
            assert_eq!(number_from_words(text), None, "{text}");
        }
    }
}
