//! Trains the quickstart's tokenizer and writes the model directory that `rasft-train --from-scratch` starts from.
//!
//! Part of `make quickstart-model`. The recipe is deterministic: the same problems give the same bytes.
//!
//!     cargo run -p rasft --example quickstart_tokenizer -- PROBLEMS… OUT_DIR

use anyhow::{Context, Result, bail};
use rasft_data::DataSet;
use rasft_types::Problem;
use serde_json::json;
use std::path::{Path, PathBuf};
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::{AddedToken, PreTokenizerWrapper, Tokenizer};

/// Room for every word of the synthetic world, the byte alphabet and the special tokens.
const VOCAB_SIZE: usize = 1024;
const PAD: &str = "<|endoftext|>";
const TURN_START: &str = "<|im_start|>";
const TURN_END: &str = "<|im_end|>";
const TEMPLATE: &str = "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n\
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

fn main() -> Result<()> {
    let args: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let Some((out, problems)) = args.split_last().filter(|(_, problems)| !problems.is_empty()) else {
        bail!("usage: quickstart_tokenizer PROBLEMS… OUT_DIR")
    };
    let mut rows: Vec<Problem> = Vec::new();
    for path in problems {
        rows.extend(DataSet::open(path)?.read_all()?);
    }
    let texts: Vec<String> = rows.into_iter().flat_map(|p| [Some(p.prompt), p.expert_response]).flatten().collect();
    std::fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;

    let tokenizer = train(&texts)?;
    let pretty = true;
    write(out, "tokenizer.json", &tokenizer.to_string(pretty).map_err(anyhow::Error::msg)?)?;
    let vocab = tokenizer.get_vocab_size(true);
    let id = |token: &str| tokenizer.token_to_id(token).with_context(|| format!("{token} is not in the vocabulary"));
    let (pad, eos) = (id(PAD)?, id(TURN_END)?);
    write(
        out,
        "tokenizer_config.json",
        &pretty_json(&json!({
            "tokenizer_class": "PreTrainedTokenizerFast", "eos_token": TURN_END, "pad_token": PAD, "bos_token": null,
            "model_max_length": 512, "clean_up_tokenization_spaces": false, "add_prefix_space": false, "chat_template": TEMPLATE,
        }))?,
    )?;
    write(out, "generation_config.json", &pretty_json(&json!({ "eos_token_id": eos, "pad_token_id": pad }))?)?;
    // The Qwen2 architecture at a size that a laptop trains in minutes.
    write(
        out,
        "config.json",
        &pretty_json(&json!({
            "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_act": "silu", "hidden_size": 160,
            "intermediate_size": 448, "num_hidden_layers": 4, "num_attention_heads": 5, "num_key_value_heads": 1,
            "max_position_embeddings": 512, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": true,
            "vocab_size": vocab, "eos_token_id": eos, "pad_token_id": pad, "initializer_range": 0.02,
            "use_sliding_window": false, "torch_dtype": "bfloat16",
        }))?,
    )?;
    println!("{} tokens, {}", vocab, out.display());
    Ok(())
}

/// Byte-level BPE over words; digits stand alone, so that arithmetic works on them one by one.
fn train(texts: &[String]) -> Result<Tokenizer> {
    let mut tokenizer = Tokenizer::new(BPE::default());
    let bytes = ByteLevel::new(false, true, true);
    let splits: Vec<PreTokenizerWrapper> = vec![Digits::new(true).into(), bytes.into()];
    tokenizer.with_pre_tokenizer(Some(Sequence::new(splits)));
    tokenizer.with_decoder(Some(bytes));
    let trainer = BpeTrainerBuilder::new()
        .vocab_size(VOCAB_SIZE)
        .show_progress(false)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .special_tokens([PAD, TURN_START, TURN_END].map(|t| AddedToken::from(t, true)).to_vec())
        .build();
    tokenizer
        .train(&mut TrainerWrapper::from(trainer), texts.iter().map(String::as_str))
        .map_err(anyhow::Error::msg)?;
    Ok(tokenizer)
}

fn pretty_json(value: &serde_json::Value) -> Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

fn write(dir: &Path, name: &str, text: &str) -> Result<()> {
    let path = dir.join(name);
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}
