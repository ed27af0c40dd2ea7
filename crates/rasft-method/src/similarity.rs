//! J₃, the Jaccard similarity of word 3-gram sets, and de-duplication by it.
//!
//! A 3-gram is held as one 64-bit hash, so comparing two texts is a merge of two sorted lists of numbers. Two different
//! 3-grams share a hash with probability 2⁻⁶⁴ per pair: the sets are exact for every purpose here.

use crate::text;

/// J₃ from which a later sample of a group duplicates an earlier one (algorithm.md §6.1).
pub const DUPLICATE_THRESHOLD: f64 = 0.82;

/// The set of word 3-grams of one text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigrams(Vec<u64>);

impl Trigrams {
    /// The 3-grams of `text` after lower-casing and splitting at blanks.
    pub fn of(text: &str) -> Self {
        let words = word_hashes(text);
        let mut grams: Vec<u64> = words.windows(3).map(combine).collect();
        grams.sort_unstable();
        grams.dedup();
        Self(grams)
    }

    /// Number of different 3-grams.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the text has fewer than three words.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `J₃ = |A∩B| / |A∪B|`; 1 if both sets are empty, 0 if exactly one is.
    ///
    /// # Source
    /// algorithm.md §6.1.
    pub fn jaccard(&self, other: &Self) -> f64 {
        match (self.is_empty(), other.is_empty()) {
            (true, true) => 1.0,
            (true, false) | (false, true) => 0.0,
            (false, false) => {
                let common = intersection(&self.0, &other.0);
                common as f64 / (self.len() + other.len() - common) as f64
            }
        }
    }
}

/// J₃ of two texts; see [`Trigrams::jaccard`].
pub fn jaccard(a: &str, b: &str) -> f64 {
    Trigrams::of(a).jaccard(&Trigrams::of(b))
}

/// For each text the index of the first *kept* earlier text with `J₃ ≥ threshold`, or `None` if it is kept itself.
///
/// # Shapes
/// As many results as texts, same order; what a result points to is `None` itself.
///
/// # Source
/// algorithm.md §6.1 (threshold 0.82).
pub fn deduplicate<T: AsRef<str>>(texts: &[T], threshold: f64) -> Vec<Option<usize>> {
    let mut kept: Vec<(usize, Trigrams)> = Vec::new();
    let mut out = Vec::with_capacity(texts.len());
    for (i, text) in texts.iter().enumerate() {
        let grams = Trigrams::of(text.as_ref());
        let original = kept.iter().find(|(_, k)| grams.jaccard(k) >= threshold).map(|(j, _)| *j);
        if original.is_none() {
            kept.push((i, grams));
        }
        out.push(original);
    }
    out
}

/// Size of the intersection of two sorted lists without repetitions.
fn intersection(a: &[u64], b: &[u64]) -> usize {
    let (mut i, mut j, mut n) = (0, 0, 0);
    while i < a.len() && j < b.len() {
        let (x, y) = (a[i], b[j]);
        n += usize::from(x == y);
        i += usize::from(x <= y);
        j += usize::from(y <= x);
    }
    n
}

/// Hash of every word of the lower-cased text, in order.
pub(crate) fn word_hashes(text: &str) -> Vec<u64> {
    if text.is_ascii() {
        return ascii_word_hashes(text.as_bytes());
    }
    text::words(&text.to_lowercase()).map(|w| finish(w.bytes().fold(FNV_OFFSET, fnv))).collect()
}

/// [`word_hashes`] without a lower-cased copy.
fn ascii_word_hashes(bytes: &[u8]) -> Vec<u64> {
    let mut out = Vec::with_capacity(bytes.len() / 5);
    let mut hash = None;
    for &byte in bytes {
        if byte.is_ascii() && text::is_space(char::from(byte)) {
            out.extend(hash.take().map(finish));
        } else {
            hash = Some(fnv(hash.unwrap_or(FNV_OFFSET), byte.to_ascii_lowercase()));
        }
    }
    out.extend(hash.map(finish));
    out
}

// FNV-1a, 64 bit (Fowler, Noll, Vo): small, well spread over short words after `finish`.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

fn fnv(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME)
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): a bijection that mixes all bits.
fn finish(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Hash of a run of words, dependent on their order.
pub(crate) fn combine(words: &[u64]) -> u64 {
    words.iter().fold(0x9e37_79b9_7f4a_7c15, |hash, word| finish(hash.rotate_left(23) ^ word).wrapping_add(hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_texts_are_duplicates_of_each_other() {
        assert_eq!(jaccard("", "a b"), 1.0);
        assert_eq!(jaccard("a b", "a b c"), 0.0);
        assert_eq!(deduplicate(&["", "a b", "c"], DUPLICATE_THRESHOLD), [None, Some(0), Some(0)]);
    }

    #[test]
    fn counts_sets_not_occurrences() {
        // {a b c, b c a, c a b} against {a b c, b c d}.
        assert_eq!(jaccard("a b c a b c", "A  b\nc d"), 0.25);
    }

    #[test]
    fn a_duplicate_of_a_duplicate_points_to_the_kept_one() {
        let a = "one two three four five six";
        assert_eq!(deduplicate(&[a, a, "x y z", a], 0.82), [None, Some(0), None, Some(0)]);
    }

    #[test]
    fn ascii_and_unicode_paths_agree() {
        let ascii = "Hence\x1cTHE sum\tis  12.\n";
        let lower =
            text::words(&ascii.to_lowercase()).map(|w| finish(w.bytes().fold(FNV_OFFSET, fnv))).collect::<Vec<_>>();
        assert_eq!(word_hashes(ascii), lower);
        assert_eq!(lower.len(), 5);
    }

    #[test]
    fn order_of_words_matters() {
        assert_ne!(combine(&[1, 2, 3]), combine(&[3, 2, 1]));
        assert_ne!(combine(&[0, 0, 1]), combine(&[0, 1, 0]));
    }
}
