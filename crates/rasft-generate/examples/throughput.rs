//! Rollouts per second of a model: 16 prompts × 4 samples × 128 new tokens at temperature 0.9 and top-p 0.95, end to end.
//!
//! `cargo run -p rasft-generate --example throughput -- MODEL_DIR [BATCH_SIZE] [PROMPTS] [SAMPLES] [NEW_TOKENS]`

use rasft_generate::{EngineOptions, Request, SamplingParams, generate};
use rasft_model::{Decoder, LoadOptions, ModelDir, Specials, TextCodec as _, Tokenizer};
use std::ops::ControlFlow;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let dir = ModelDir::open(args.next().ok_or("usage: throughput MODEL_DIR [BATCH_SIZE] [PROMPTS] [SAMPLES] [NEW]")?)?;
    let mut number = |default: usize| args.next().map_or(Ok(default), |n| n.parse::<usize>());
    let (batch_size, n_prompts, samples, max_new_tokens) = (number(64)?, number(16)?, number(4)?, number(128)?);
    let decoder = Decoder::load(&dir, &LoadOptions::default())?;
    let tokenizer = Tokenizer::from_dir(&dir)?;
    let prompt = |i: usize| {
        let (each, boxes, lost) = (3 + i, 7 * i + 5, i % 4);
        format!(
            "<|im_start|>user\nA shop packs {each} lamps into each of {boxes} boxes, and {lost} of the lamps break on the \
             way to the customer. How many lamps arrive whole? Explain every step.<|im_end|>\n<|im_start|>assistant\n"
        )
    };
    let requests = (0..n_prompts)
        .map(|i| {
            let prompt_ids = tokenizer.encode(&prompt(i), Specials::Omit)?.ids;
            Ok(Request { problem_id: format!("{i}"), prompt_ids, samples: 0..samples as u32, max_new_tokens })
        })
        .collect::<Result<Vec<_>, rasft_model::ModelError>>()?;
    let params = SamplingParams {
        temperature: 0.9,
        top_p: 0.95,
        top_k: 0,
        min_p: 0.0,
        repetition_penalty: 1.0,
        min_new_tokens: 0,
        stop: Vec::new(),
        eos_ids: Vec::new(),
    };
    let mut hasher = blake3::Hasher::new();
    let mut done = Vec::new();
    let mut take = |completion| {
        done.push(completion);
        ControlFlow::Continue(())
    };
    let start = Instant::now();
    let stats = generate(&decoder, &tokenizer, &requests, &params, 42, &EngineOptions { batch_size }, &mut take)?;
    let seconds = start.elapsed().as_secs_f64();
    done.sort_by_key(|c| (c.request, c.sample_index));
    for completion in &done {
        hasher.update(format!("{completion:?}").as_bytes());
    }
    println!("{stats:?}\noccupancy {:.3}", stats.occupancy());
    println!("{} new tokens in {seconds:.2} s: {:.0} tokens/s", stats.tokens, stats.tokens as f64 / seconds);
    println!("hash of all completions: {}", hasher.finalize().to_hex());
    Ok(())
}
