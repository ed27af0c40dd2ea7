//! Numerals: thousands separators, decimals, exponents, repeating decimals.
//!
//! A comma groups digits only if every group after it has three digits, no blank follows it, and the innermost bracket is
//! not one that lists things: `62,500` is a number, `62, 500` and `(3,331)` are two.

use super::unicode::digit_value;
use crate::expr::Decimal;
use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Pow, Zero};

/// Exponents beyond this are not turned into digits.
const MAX_EXPONENT: i64 = 5_000;
/// Longer numerals are not numbers.
const MAX_DIGITS: usize = 4_000;

/// A numeral's exact value and how it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Literal {
    /// The value.
    pub value: BigRational,
    /// Present when written with a point or an exponent (but not for a repeating decimal, which is exact).
    pub decimal: Option<Decimal>,
    /// The digits as written, without separators; empty unless a plain integer.
    pub digits: String,
    /// Whether it was written with an exponent.
    pub scientific: bool,
}

/// A numeral's parts as they are read.
#[derive(Default)]
struct Parts {
    whole: String,
    fraction: String,
    repeat: String,
    exponent: i64,
    has_point: bool,
    has_exponent: bool,
}

/// Reads a numeral at `at`; gives it, unless it is too long to be one, and the index after it.
pub(super) fn read(chars: &[char], at: usize, commas_group: bool) -> Option<(Option<Literal>, usize)> {
    let mut parts = Parts::default();
    let mut i = at;
    read_digits(chars, &mut i, &mut parts.whole);
    // A numeral that the one before it, a comma away, was not grouped with is an item of a list.
    let is_item = at >= 2 && chars[at - 1] == ',' && digit_value(chars[at - 2]).is_some();
    if !parts.whole.is_empty() {
        read_groups(chars, &mut i, &mut parts.whole, commas_group && !is_item);
    }
    read_fraction(chars, &mut i, &mut parts, commas_group);
    if parts.whole.is_empty() && parts.fraction.is_empty() && parts.repeat.is_empty() {
        return None;
    }
    read_exponent(chars, &mut i, &mut parts);
    Some((build(parts), i))
}

fn read_digits(chars: &[char], i: &mut usize, out: &mut String) {
    while let Some(d) = chars.get(*i).and_then(|c| digit_value(*c)) {
        out.push((b'0' + d) as char);
        *i += 1;
    }
}

fn digits_at(chars: &[char], at: usize) -> usize {
    chars[at.min(chars.len())..].iter().take_while(|c| digit_value(**c).is_some()).count()
}

/// The separators that may stand between groups of three digits.
fn separator(chars: &[char], at: usize, commas_group: bool) -> Option<usize> {
    let starts = |s: &str| s.chars().enumerate().all(|(k, c)| chars.get(at + k) == Some(&c));
    let skip_blanks = |mut k: usize| {
        while chars.get(k) == Some(&' ') {
            k += 1;
        }
        k
    };
    const MARKS: [&str; 12] =
        ["{,}\\!", "{,}", ",\\!", "\\,", "\\;", "\\:", "\\!", "\\ ", "~", "\u{a0}", "\u{202f}", "\u{2009}"];
    if let Some(mark) = MARKS.iter().find(|m| starts(m)) {
        return Some(skip_blanks(at + mark.chars().count()));
    }
    if commas_group && starts(",") {
        return Some(at + 1);
    }
    // A plain blank separates thousands too (ISO 80000), since a product of numerals is never written so.
    starts(" ").then_some(at + 1)
}

fn read_groups(chars: &[char], i: &mut usize, whole: &mut String, commas_group: bool) {
    if whole.len() > 3 || (whole.len() > 1 && whole.starts_with('0')) {
        return;
    }
    let mut at = *i;
    let mut groups = String::new();
    while let Some(start) = separator(chars, at, commas_group) {
        match digits_at(chars, start) {
            3 => {
                let mut k = start;
                read_digits(chars, &mut k, &mut groups);
                at = k;
            }
            // `27,54,108` is a list, and so is everything in it; `1 600 3` never occurs.
            0 => break,
            _ => return,
        }
    }
    // `5\ 859/990` is a mixed number.
    let blank = matches!(chars.get(*i), Some(' ')) || chars[*i..].starts_with(&['\\', ' ']);
    let slash = chars[at..].iter().find(|c| **c != ' ') == Some(&'/');
    let is_mixed = blank && slash;
    if !groups.is_empty() && !is_mixed {
        whole.push_str(&groups);
        *i = at;
    }
}

fn read_fraction(chars: &[char], i: &mut usize, parts: &mut Parts, commas_group: bool) {
    let next_digits = digits_at(chars, *i + 1);
    match chars.get(*i) {
        Some('.') if next_digits > 0 => {
            // `1.234,56` and `1.234.567`: European spelling, unambiguous with both marks or two of one.
            let european =
                commas_group && next_digits == 3 && (1..=3).contains(&parts.whole.len()) && european_tail(chars, *i);
            if european {
                read_european(chars, i, parts);
                return;
            }
            *i += 1;
            parts.has_point = true;
            read_digits(chars, i, &mut parts.fraction);
            read_repeat(chars, i, &mut parts.repeat);
        }
        Some('.') => {
            let mut k = *i + 1;
            let mut repeat = String::new();
            read_repeat(chars, &mut k, &mut repeat);
            if !repeat.is_empty() {
                parts.has_point = true;
                parts.repeat = repeat;
                *i = k;
            } else if !parts.whole.is_empty() && chars.get(k) != Some(&'.') {
                // `45.` ends a sentence or is a decimal without decimals; either way 45.
                *i = k;
            }
        }
        _ => {}
    }
}

fn european_tail(chars: &[char], dot: usize) -> bool {
    let after = dot + 4;
    match chars.get(after) {
        Some(',') => matches!(digits_at(chars, after + 1), 1 | 2 | 4..),
        Some('.') => digits_at(chars, after + 1) == 3,
        _ => false,
    }
}

fn read_european(chars: &[char], i: &mut usize, parts: &mut Parts) {
    while chars.get(*i) == Some(&'.') && digits_at(chars, *i + 1) == 3 {
        *i += 1;
        read_digits(chars, i, &mut parts.whole);
    }
    if chars.get(*i) == Some(&',') && digits_at(chars, *i + 1) > 0 {
        *i += 1;
        parts.has_point = true;
        read_digits(chars, i, &mut parts.fraction);
    }
}

/// `\overline{3}`, `\bar 3`, `\dot{3}`, `(3)` after a decimal point.
fn read_repeat(chars: &[char], i: &mut usize, out: &mut String) {
    let starts = |s: &str| s.chars().enumerate().all(|(k, c)| chars.get(*i + k) == Some(&c));
    let Some(name) = ["\\overline", "\\bar", "\\dot", "("].into_iter().find(|s| starts(s)) else {
        return;
    };
    let mut k = *i + name.len();
    let close = match (name, chars.get(k)) {
        ("(", _) => Some(')'),
        (_, Some('{')) => {
            k += 1;
            Some('}')
        }
        _ => None,
    };
    let mut digits = String::new();
    match close {
        Some(close) => {
            read_digits(chars, &mut k, &mut digits);
            if digits.is_empty() || chars.get(k) != Some(&close) {
                return;
            }
            k += 1;
        }
        None => {
            let Some(d) = chars.get(k).and_then(|c| digit_value(*c)) else { return };
            digits.push((b'0' + d) as char);
            k += 1;
        }
    }
    *out = digits;
    *i = k;
}

fn read_exponent(chars: &[char], i: &mut usize, parts: &mut Parts) {
    if !matches!(chars.get(*i), Some('e' | 'E')) || !parts.repeat.is_empty() {
        return;
    }
    let mut k = *i + 1;
    let negative = matches!(chars.get(k), Some('-' | '−'));
    if negative || chars.get(k) == Some(&'+') {
        k += 1;
    }
    let mut digits = String::new();
    read_digits(chars, &mut k, &mut digits);
    let Ok(value) = digits.parse::<i64>() else { return };
    if value > MAX_EXPONENT {
        return;
    }
    parts.exponent = if negative { -value } else { value };
    parts.has_exponent = true;
    *i = k;
}

fn pow10(n: u64) -> BigInt {
    Pow::pow(BigInt::from(10u8), n)
}

fn build(parts: Parts) -> Option<Literal> {
    let Parts { whole, fraction, repeat, exponent, has_point, has_exponent } = parts;
    if whole.len() + fraction.len() + repeat.len() > MAX_DIGITS {
        return None;
    }
    let joined = format!("{whole}{fraction}");
    let mantissa: BigInt = if joined.is_empty() { BigInt::zero() } else { joined.parse().ok()? };
    let mut value = BigRational::from_integer(mantissa);
    if !repeat.is_empty() {
        let nines = pow10(repeat.len() as u64) - BigInt::one();
        value += BigRational::new(repeat.parse().ok()?, nines);
    }
    let places = fraction.len() as i64 - exponent;
    if places > 0 {
        value /= BigRational::from_integer(pow10(places.unsigned_abs()));
    } else if places < 0 {
        value *= BigRational::from_integer(pow10(places.unsigned_abs()));
    }
    let significant = joined.trim_start_matches('0').len() as u32;
    let decimal = ((has_point || has_exponent) && repeat.is_empty()).then_some(Decimal { places, digits: significant });
    let digits = if has_point || has_exponent { String::new() } else { whole };
    Some(Literal { value, decimal, digits, scientific: has_exponent })
}
