//! The identity of a problem.

use rasft_types::{CodeSpec, Domain};

/// 32 hex digits: the first 16 bytes of the blake3 hash of domain, prompt and answer or tests.
///
/// Every part is written as its length in bytes (u64, little-endian) and then its bytes, lists with their length before
/// them, and what is absent as another tag than what is empty; so no two different problems have the same encoding. For
/// code, everything that decides whether a program passes counts: entry point, setup, tests, and whether the prompt begins
/// the program. Source, expert solution and meta do not count.
///
/// # Source
/// design.md §5, `problems`.
pub fn problem_id(domain: Domain, prompt: &str, answer: Option<&str>, code: Option<&CodeSpec>) -> String {
    let mut hasher = blake3::Hasher::new();
    framed(&mut hasher, domain.as_str());
    framed(&mut hasher, prompt);
    optional(&mut hasher, answer);
    match code {
        None => framed(&mut hasher, "no code"),
        Some(code) => {
            framed(&mut hasher, "code");
            optional(&mut hasher, code.entry_point.as_deref());
            framed(&mut hasher, &code.setup);
            hasher.update(&(code.tests.len() as u64).to_le_bytes());
            for test in &code.tests {
                framed(&mut hasher, test);
            }
            hasher.update(&[u8::from(code.prompt_is_prefix)]);
        }
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

fn optional(hasher: &mut blake3::Hasher, text: Option<&str>) {
    match text {
        None => framed(hasher, "none"),
        Some(text) => {
            framed(hasher, "some");
            framed(hasher, text);
        }
    }
}

fn framed(hasher: &mut blake3::Hasher, text: &str) {
    hasher.update(&(text.len() as u64).to_le_bytes());
    hasher.update(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code() -> CodeSpec {
        CodeSpec { entry_point: Some("f".into()), setup: "s".into(), tests: vec!["t".into()], prompt_is_prefix: false }
    }

    #[test]
    fn every_part_counts() {
        let c = code();
        let ids = [
            problem_id(Domain::Math, "p", Some("1"), None),
            problem_id(Domain::Code, "p", Some("1"), None),
            problem_id(Domain::Math, "q", Some("1"), None),
            problem_id(Domain::Math, "p", Some("2"), None),
            problem_id(Domain::Math, "p", Some(""), None),
            problem_id(Domain::Math, "p", None, None),
            problem_id(Domain::Math, "p1", Some(""), None),
            problem_id(Domain::Code, "p", None, Some(&c)),
            problem_id(Domain::Code, "p", None, Some(&CodeSpec { entry_point: None, ..c.clone() })),
            problem_id(
                Domain::Code,
                "p",
                None,
                Some(&CodeSpec { setup: "st".into(), tests: vec!["".into()], ..c.clone() }),
            ),
            problem_id(Domain::Code, "p", None, Some(&CodeSpec { tests: vec!["t".into(), "".into()], ..c.clone() })),
            problem_id(Domain::Code, "p", None, Some(&CodeSpec { prompt_is_prefix: true, ..c.clone() })),
        ];
        for (i, a) in ids.iter().enumerate() {
            assert!(a.len() == 32 && a.bytes().all(|b| b.is_ascii_hexdigit()), "{a}");
            for b in &ids[i + 1..] {
                assert_ne!(a, b);
            }
        }
    }

    #[test]
    fn stays_what_it_was() {
        // Stored tables and caches refer to problems by these.
        assert_eq!(problem_id(Domain::Math, "What is 1 + 1?", Some("2"), None), GOLDEN);
    }

    const GOLDEN: &str = "487acfbe22753d885f620f340513e320";
}
