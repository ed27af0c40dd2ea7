use super::*;
use crate::tokenizer::{Encoded, SpecialText};
use serde_json::Value;

/// One token per code point, id = code point, EOS U+0003, no BOS (golden/README.md).
struct CharTok;

impl TextCodec for CharTok {
    fn encode(&self, text: &str, _: Specials) -> Result<Encoded, ModelError> {
        let ids = text.chars().map(u32::from).collect();
        let offsets = text.char_indices().map(|(at, c)| (at, at + c.len_utf8())).collect();
        Ok(Encoded { ids, offsets })
    }

    fn decode(&self, ids: &[u32], special: SpecialText) -> Result<String, ModelError> {
        let skipped = |id: &&u32| special == SpecialText::Keep || **id != 3;
        Ok(ids.iter().filter(skipped).filter_map(|id| char::from_u32(*id)).collect())
    }

    fn eos_id(&self) -> u32 {
        3
    }

    fn eos_text(&self) -> &str {
        "\u{3}"
    }
}

/// Two characters per token, from the start of the text: tokens straddle odd boundaries.
struct PairTok;

impl TextCodec for PairTok {
    fn encode(&self, text: &str, _: Specials) -> Result<Encoded, ModelError> {
        let n = text.len();
        let offsets: Vec<_> = (0..n).step_by(2).map(|at| (at, (at + 2).min(n))).collect();
        let ids = offsets.iter().map(|(a, b)| text.as_bytes()[*a..*b].iter().map(|c| u32::from(*c)).sum()).collect();
        Ok(Encoded { ids, offsets })
    }

    fn decode(&self, _: &[u32], _: SpecialText) -> Result<String, ModelError> {
        Err(ModelError::Tokenizer("pairs are not decoded".into()))
    }

    fn eos_id(&self) -> u32 {
        0
    }

    fn eos_text(&self) -> &str {
        ""
    }
}

fn check(prompt: &str, response: &str, max_length: usize, on_long: OnLong) -> Result<Item, Dropped> {
    build_item(&CharTok, prompt, response, &ItemOptions { max_length, on_long }).unwrap()
}

#[test]
fn prompt_response_and_eos_in_one_list() {
    let item = check("ab", "cdé", 6, OnLong::Drop).unwrap();
    assert_eq!(item.input_ids, [97, 98, 99, 100, 233, 3]);
    assert_eq!((item.prompt_len, item.response_len(), item.truncated, item.straddles), (2, 4, false, false));
}

#[test]
fn long_sequences_are_dropped_or_cut_without_eos() {
    assert_eq!(check("ab", "cde", 5, OnLong::Drop), Err(Dropped::TooLong { n_tokens: 6 }));
    let item = check("ab", "cde", 5, OnLong::Truncate).unwrap();
    // All of the response fits, its EOS does not: that is still a cut.
    assert_eq!((item.input_ids.as_slice(), item.truncated), ([97, 98, 99, 100, 101].as_slice(), true));
    let item = check("ab", "cde", 3, OnLong::Truncate).unwrap();
    assert_eq!((item.input_ids.as_slice(), item.response_len()), ([97, 98, 99].as_slice(), 1));
    for on_long in [OnLong::Drop, OnLong::Truncate] {
        assert_eq!(check("ab", "cde", 2, on_long), Err(Dropped::PromptTooLong { n_tokens: 2 }));
    }
    assert_eq!(check("ab", "", 9, OnLong::Drop), Err(Dropped::EmptyResponse));
}

#[test]
fn a_response_that_was_cut_off_never_gets_eos() {
    let cut = |max_length, on_long| {
        build_item_ending(&CharTok, "ab", "cde", Ending::Cut, &ItemOptions { max_length, on_long }).unwrap()
    };
    for max_length in [99, 5] {
        let item = cut(max_length, OnLong::Drop).unwrap();
        assert_eq!((item.input_ids.as_slice(), item.truncated), ([97, 98, 99, 100, 101].as_slice(), true));
    }
    assert_eq!(cut(4, OnLong::Drop), Err(Dropped::TooLong { n_tokens: 5 }));
    assert_eq!(cut(4, OnLong::Truncate).unwrap().input_ids, [97, 98, 99, 100]);
}

#[test]
fn a_straddling_token_belongs_to_the_response() {
    let options = ItemOptions { max_length: 99, on_long: OnLong::Drop };
    let item = build_item(&PairTok, "abc", "def", &options).unwrap().unwrap();
    assert_eq!((item.prompt_len, item.straddles, item.input_ids.len()), (1, true, 4));
    let item = build_item(&PairTok, "abcd", "ef", &options).unwrap().unwrap();
    assert_eq!((item.prompt_len, item.straddles), (2, false));
}

#[test]
fn counts_add_up() {
    let mut counts = ItemCounts::default();
    for (response, max_length) in [("cde", 99), ("cde", 5), ("cde", 2), ("", 99), ("x", 4)] {
        counts.record(&check("ab", response, max_length, OnLong::Truncate));
    }
    let expected = ItemCounts { n_in: 5, n_out: 3, n_truncated: 1, n_prompt_too_long: 1, n_empty: 1, ..counts };
    assert_eq!(counts, expected);
    assert_eq!(counts.n_in, counts.n_out + counts.n_too_long + counts.n_prompt_too_long + counts.n_empty);
}

#[test]
fn reference_items_equal_the_recorded_ones() {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared");
    let shared = std::env::var("RASFT_SHARED").unwrap_or_else(|_| default.to_owned());
    let Ok(text) = std::fs::read_to_string(format!("{shared}/golden/build_item.jsonl")) else {
        println!("skipped: ../shared not found");
        return;
    };
    let mut seen = (0, 0);
    for (row, line) in text.lines().enumerate() {
        let json: Value = serde_json::from_str(line).unwrap();
        let word = |key: &str| json[key].as_str().unwrap();
        let max_len = json["max_len"].as_u64().unwrap() as usize;
        let made = reference::build_item(&CharTok, word("instruction"), word("response"), max_len).unwrap();
        let expected = &json["item"];
        let Some(item) = made else {
            assert!(expected.is_null(), "row {row}: no item, expected {expected}");
            seen.0 += 1;
            continue;
        };
        seen.1 += 1;
        let n = |key: &str| expected[key].as_u64().unwrap() as usize;
        assert_eq!(item.response, expected["response"].as_str().unwrap(), "row {row}");
        assert_eq!(item.input_ids.len(), n("n_tokens"), "row {row}");
        assert_eq!(item.n_prompt, n("n_prompt"), "row {row}");
        assert_eq!(item.input_ids.len() - item.n_prompt, n("n_labels"), "row {row}");
        assert_eq!(*item.input_ids.last().unwrap() as usize, n("last_token"), "row {row}");
        if let Some(ids) = expected["input_ids"].as_array() {
            let ids: Vec<u32> = ids.iter().map(|id| id.as_u64().unwrap() as u32).collect();
            assert_eq!(item.input_ids, ids, "row {row}");
        }
    }
    assert_eq!(seen.0 + seen.1, 40);
    assert!(seen.0 > 0 && seen.1 > 0);
}
