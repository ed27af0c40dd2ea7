//! Tokenizers made for the test, and SmolLM2's real one when it has been unpacked.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use rasft_model::item::{ItemOptions, OnLong, build_item};
use rasft_model::template::TemplateChoice;
use rasft_model::{ChatTemplate, Detokenizer, ModelDir, SpecialText, Specials, TextCodec, Tokenizer};
use serde_json::{Value, json};

/// Byte-level BPE over all bytes with a few merges, a BOS-adding, offset-trimming post-processor, and two special tokens.
fn byte_level() -> Value {
    // GPT-2's printable stand-ins: printable bytes are themselves, the others follow U+0100 in order.
    let printable = |b: u8| matches!(b, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let mut stand_ins = '\u{100}'..;
    let mut vocab = serde_json::Map::new();
    for byte in 0..=255u8 {
        let c = if printable(byte) { char::from(byte) } else { stand_ins.next().unwrap() };
        vocab.insert(c.to_string(), json!(byte));
    }
    let merges = ["h e", "l l", "he ll", "Ġ w", "Ċ Ċ", ": Ċ"];
    for (at, merge) in merges.iter().enumerate() {
        vocab.insert(merge.replace(' ', ""), json!(256 + at));
    }
    let special = |id: u32, content: &str| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
               "normalized": false, "special": true})
    };
    let level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
    json!({"version": "1.0",
        "truncation": {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
                    "pad_type_id": 0, "pad_token": "!"},
        "added_tokens": [special(262, "<s>"), special(263, "<e>")], "normalizer": null,
        "pre_tokenizer": level.clone(), "decoder": level.clone(),
        "post_processor": {"type": "Sequence", "processors": [level, {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [262], "tokens": ["<s>"]}}}]},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": vocab, "merges": merges}})
}

/// A directory with that tokenizer and these side files.
fn directory(files: &[(&str, Value)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("tokenizer.json"), byte_level().to_string()).unwrap();
    for (name, json) in files {
        std::fs::write(dir.path().join(name), json.to_string()).unwrap();
    }
    dir
}

fn open(dir: &Path) -> Tokenizer {
    Tokenizer::from_dir(&ModelDir::open_tokenizer_only(dir).unwrap()).unwrap()
}

fn simple() -> (Tokenizer, tempfile::TempDir) {
    let dir = directory(&[("tokenizer_config.json", json!({"eos_token": {"content": "<e>"}, "bos_token": "<s>"}))]);
    (open(dir.path()), dir)
}

#[test]
fn encoding_neither_truncates_nor_pads_and_adds_specials_only_when_asked() {
    let (tokenizer, _dir) = simple();
    let bare = tokenizer.encode("hello world", Specials::Omit).unwrap();
    assert_eq!(bare.ids, [258, 111, 259, 111, 114, 108, 100]);
    let added = tokenizer.encode("hello world", Specials::Add).unwrap();
    assert_eq!(added.ids[0], 262);
    assert_eq!(added.ids[1..], bare.ids);
    let written = tokenizer.encode("a<e>b", Specials::Omit).unwrap();
    assert_eq!(written.ids, [97, 263, 98]);
    assert_eq!(tokenizer.decode(&written.ids, SpecialText::Skip).unwrap(), "ab");
    assert_eq!(tokenizer.decode(&written.ids, SpecialText::Keep).unwrap(), "a<e>b");
}

#[test]
fn offsets_cover_the_text_whatever_the_post_processor_trims() {
    let (tokenizer, _dir) = simple();
    let text = "hello  world\n\n é: x";
    let encoded = tokenizer.encode(text, Specials::Omit).unwrap();
    assert_eq!(encoded.offsets[0].0, 0);
    assert_eq!(encoded.offsets.last().unwrap().1, text.len());
    assert!(encoded.offsets.windows(2).all(|w| w[1].0 <= w[0].1), "gaps in {:?}", encoded.offsets);
}

#[test]
fn the_boundary_is_found_inside_merged_white_space() {
    let (tokenizer, _dir) = simple();
    let options = ItemOptions { max_length: 100, on_long: OnLong::Drop };
    // ":\n" and "\n…": the two newlines merge, so the token straddles and belongs to the response.
    let item = build_item(&tokenizer, "a\n", "\nb", &options).unwrap().unwrap();
    assert_eq!((item.input_ids.as_slice(), item.prompt_len, item.straddles), ([97, 260, 98, 263].as_slice(), 1, true));
    let item = build_item(&tokenizer, "a:\n", "b", &options).unwrap().unwrap();
    assert_eq!((item.input_ids.as_slice(), item.prompt_len, item.straddles), ([97, 261, 98, 263].as_slice(), 2, false));
    // A leading space of the response is response, though byte-level post-processors trim it off the offsets.
    let item = build_item(&tokenizer, "a", " w", &options).unwrap().unwrap();
    assert_eq!((item.prompt_len, item.straddles), (1, false));
}

#[test]
fn eos_set_and_turn_ending_eos() {
    let eos = |files: &[(&str, Value)]| {
        let dir = directory(files);
        let tokenizer = open(dir.path());
        (tokenizer.eos_ids().to_vec(), tokenizer.eos_id(), tokenizer.pad_id())
    };
    let named = ("tokenizer_config.json", json!({"eos_token": "<e>"}));
    let generation = ("generation_config.json", json!({"eos_token_id": [262, 263], "pad_token_id": 7}));
    let config = ("config.json", json!({"eos_token_id": 262}));
    assert_eq!(eos(std::slice::from_ref(&named)), (vec![263], 263, 263));
    assert_eq!(eos(&[named.clone(), config.clone()]), (vec![262], 262, 262));
    assert_eq!(eos(&[named, config, generation.clone()]), (vec![262, 263], 263, 7));
    assert_eq!(eos(&[generation]), (vec![262, 263], 262, 7));
    let none = directory(&[]);
    let error = Tokenizer::from_dir(&ModelDir::open_tokenizer_only(none.path()).unwrap()).unwrap_err();
    assert!(error.to_string().contains("end-of-sequence"), "{error}");
}

#[test]
fn content_hash_follows_the_content() {
    let hash = |files: &[(&str, Value)]| open(directory(files).path()).content_hash().to_owned();
    let one = [("generation_config.json", json!({"eos_token_id": 263}))];
    assert_eq!(hash(&one), hash(&one));
    assert_ne!(hash(&one), hash(&[("generation_config.json", json!({"eos_token_id": 262}))]));
    assert_eq!(hash(&one).len(), 64);
}

/// Feeds the tokens of `text` one by one; every piece must be whole characters and the pieces must add up.
fn stream(tokenizer: &Tokenizer, text: &str) -> Vec<String> {
    let ids = tokenizer.encode(text, Specials::Omit).unwrap().ids;
    let mut detokenizer = Detokenizer::new();
    let mut pieces: Vec<String> = Vec::new();
    for id in &ids {
        pieces.push(detokenizer.push(tokenizer, *id).unwrap().to_owned());
    }
    pieces.push(detokenizer.finish(tokenizer).unwrap().to_owned());
    assert_eq!(pieces.concat(), tokenizer.decode(&ids, SpecialText::Skip).unwrap());
    assert_eq!(detokenizer.text(), pieces.concat());
    pieces
}

#[test]
fn characters_spread_over_tokens_come_out_whole() {
    let (tokenizer, _dir) = simple();
    let pieces = stream(&tokenizer, "aé🦀b");
    assert_eq!(pieces, ["a", "", "é", "", "", "", "🦀", "b", ""]);
    stream(&tokenizer, "hello world\n\n");
    // A sequence that ends inside a character: what was held back is given out at the end, as decode shows it.
    let mut detokenizer = Detokenizer::new();
    for id in [104, 0xf0, 0x9f] {
        let piece = detokenizer.push(&tokenizer, id).unwrap().to_owned();
        assert!(!piece.contains('\u{fffd}'));
    }
    detokenizer.finish(&tokenizer).unwrap();
    assert_eq!(detokenizer.text(), tokenizer.decode(&[104, 0xf0, 0x9f], SpecialText::Skip).unwrap());
    // An invalid byte followed by a valid one is let through.
    let mut detokenizer = Detokenizer::new();
    detokenizer.push(&tokenizer, 0xf0).unwrap();
    assert_eq!(detokenizer.push(&tokenizer, 104).unwrap(), "\u{fffd}h");
}

#[test]
fn without_a_template_the_choice_must_be_made() {
    let (tokenizer, path) = simple();
    let dir = ModelDir::open_tokenizer_only(path.path()).unwrap();
    let error = ChatTemplate::from_dir(&dir, &tokenizer, TemplateChoice::Own).unwrap_err();
    assert!(error.to_string().contains("ChatML"), "{error}");
    let chatml = ChatTemplate::from_dir(&dir, &tokenizer, TemplateChoice::OwnOrChatMl).unwrap();
    assert_eq!(chatml.origin(), "built-in chatml");
    std::fs::write(path.path().join("chat_template.jinja"), "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}")
        .unwrap();
    let own = ChatTemplate::from_dir(&dir, &tokenizer, TemplateChoice::OwnOrChatMl).unwrap();
    assert_eq!(own.prompt(None, "x").unwrap(), "<s>x<e>");
    let names: Vec<String> = dir.files_for_hash().into_iter().map(|f| f.0).collect();
    assert_eq!(names, ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"]);
}

#[test]
fn the_default_of_several_named_templates_counts() {
    let named = json!([{"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"}]);
    let dir = directory(&[("tokenizer_config.json", json!({"eos_token": "<e>", "chat_template": named}))]);
    let model = ModelDir::open_tokenizer_only(dir.path()).unwrap();
    let template = ChatTemplate::from_dir(&model, &open(dir.path()), TemplateChoice::Own).unwrap();
    assert_eq!(template.source(), "D");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    /// Whatever the text, streaming gives out what decoding gives.
    #[test]
    fn streaming_equals_decoding(text in "(hell|o w|\\PC|\n| |🦀|é){0,40}") {
        let (tokenizer, _dir) = simple();
        stream(&tokenizer, &text);
    }

    /// The prompt's tokens spell the prompt, or a part of it where a token straddles; the rest spells the rest.
    #[test]
    fn the_boundary_splits_the_text(prompt in "(he|:|\n|\\PC){1,20}", response in "(ll| w|\n|\\PC){1,20}") {
        let (tokenizer, _dir) = simple();
        let item = build_item(&tokenizer, &prompt, &response, &ItemOptions { max_length: 9999, on_long: OnLong::Drop });
        let item = item.unwrap().unwrap();
        let text = |ids: &[u32]| tokenizer.decode(ids, SpecialText::Skip).unwrap();
        let head = text(&item.input_ids[..item.prompt_len]);
        prop_assert!(prompt.starts_with(&head));
        prop_assert_eq!(head == prompt, !item.straddles);
        prop_assert_eq!(head + &text(&item.input_ids[item.prompt_len..]), prompt + &response);
        prop_assert_eq!(item.input_ids.last(), Some(&tokenizer.eos_id()));
    }
}

/// SmolLM2-135M-Instruct, if it was unpacked (models/README.md) and `RASFT_SMOLLM2` names the directory.
fn smollm2() -> Option<PathBuf> {
    let path = std::env::var_os("RASFT_SMOLLM2").map(PathBuf::from).filter(|p| p.is_dir());
    if path.is_none() {
        println!("skipped: RASFT_SMOLLM2 names no model directory");
    }
    path
}

#[test]
fn smollm2_prompts_and_streams() {
    let Some(path) = smollm2() else { return };
    let dir = ModelDir::open(&path).unwrap();
    let tokenizer = Tokenizer::from_dir(&dir).unwrap();
    let template = ChatTemplate::from_dir(&dir, &tokenizer, TemplateChoice::Own).unwrap();
    let prompt = template.prompt(None, "What is 12 × 7?").unwrap();
    let expected = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n\
                    <|im_start|>user\nWhat is 12 × 7?<|im_end|>\n<|im_start|>assistant\n";
    assert_eq!(prompt, expected);
    let ids = tokenizer.encode(&prompt, Specials::Omit).unwrap().ids;
    assert_eq!((ids[0], tokenizer.eos_ids(), tokenizer.eos_id()), (1, [2].as_slice(), 2));
    let item = build_item(&tokenizer, &prompt, "It is 84.", &ItemOptions { max_length: 99, on_long: OnLong::Drop });
    let item = item.unwrap().unwrap();
    assert_eq!((item.prompt_len, item.straddles), (ids.len(), false));
    assert_eq!(item.input_ids[..ids.len()], ids);
    stream(&tokenizer, "Ünïcode 🦀🦀 and 12345 digits\n\n\tindent — ① ∑∫");
}
