//! Our side of `make bench-rollout`: 16 prompts × 4 samples × 128 new tokens at temperature 0.9 and top-p 0.95, end to
//! end. The model is loaded once; each line on stdin asks for one run.
//!
//! `echo run | cargo run -p rasft-generate --example rollout_bench -- MODEL_DIR [BATCH_SIZE] [PROMPTS] [SAMPLES] [NEW_TOKENS]`
//!
//! Lines in: `run`, or `greedy` for the most likely 24 tokens behind the first prompt. Lines out, JSON: first the prompts,
//! then one for each line in.

use rasft_generate::{Completion, EngineOptions, Request, SamplingParams, Stats, generate};
use rasft_model::{Decoder, LoadOptions, ModelDir, Specials, TextCodec as _, Tokenizer};
use serde_json::json;
use std::io::BufRead;
use std::ops::ControlFlow;
use std::time::Instant;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().ok_or("usage: rollout_bench MODEL_DIR [BATCH_SIZE] [PROMPTS] [SAMPLES] [NEW_TOKENS]")?;
    let dir = ModelDir::open(dir)?;
    let mut number = |default: usize| args.next().map_or(Ok(default), |n| n.parse::<usize>());
    let (batch_size, n_prompts, samples, new_tokens) = (number(64)?, number(16)?, number(4)?, number(128)?);
    let decoder = Decoder::load(&dir, &LoadOptions::default())?;
    let tokenizer = Tokenizer::from_dir(&dir)?;
    let prompts = (0..n_prompts)
        .map(|i| Ok(tokenizer.encode(&prompt(i), Specials::Omit)?.ids))
        .collect::<Result<Vec<_>, Failure>>()?;
    println!("{}", json!({ "prompts": prompts, "samples": samples, "new_tokens": new_tokens }));
    for line in std::io::stdin().lock().lines() {
        match line?.trim() {
            "greedy" => {
                let request = requests(&prompts[..1], 1, 24);
                let (done, ..) = run(&decoder, &tokenizer, &request, 0.0, batch_size)?;
                println!("{}", json!({ "token_ids": done[0].token_ids }));
            }
            _ => {
                let requests = requests(&prompts, samples, new_tokens);
                let before = cpu_seconds();
                let (done, stats, seconds) = run(&decoder, &tokenizer, &requests, 0.9, batch_size)?;
                let mut hasher = blake3::Hasher::new();
                for completion in &done {
                    hasher.update(format!("{completion:?}").as_bytes());
                }
                eprintln!(
                    "{:.0} tokens/s, occupancy {:.3}, {stats:?}",
                    stats.tokens as f64 / seconds,
                    stats.occupancy()
                );
                let hash = hasher.finalize().to_hex().to_string();
                let cpu = before.zip(cpu_seconds()).map(|(before, after)| after - before);
                println!(
                    "{}",
                    json!({
                        "seconds": seconds, "cpu_seconds": cpu, "tokens": stats.tokens, "hash": hash,
                        "peak_mib": peak_mib(),
                    })
                );
            }
        }
    }
    Ok(())
}

fn prompt(i: usize) -> String {
    let (each, boxes, lost) = (3 + i, 7 * i + 5, i % 4);
    format!(
        "<|im_start|>user\nA shop packs {each} lamps into each of {boxes} boxes, and {lost} of the lamps break on the \
         way to the customer. How many lamps arrive whole? Explain every step.<|im_end|>\n<|im_start|>assistant\n"
    )
}

fn requests(prompts: &[Vec<u32>], samples: usize, max_new_tokens: usize) -> Vec<Request> {
    let request = |(i, prompt_ids): (usize, &Vec<u32>)| Request {
        problem_id: i.to_string(),
        prompt_ids: prompt_ids.clone(),
        samples: (0..samples as u32).collect(),
        max_new_tokens,
    };
    prompts.iter().enumerate().map(request).collect()
}

fn run(
    decoder: &Decoder,
    tokenizer: &Tokenizer,
    requests: &[Request],
    temperature: f64,
    batch_size: usize,
) -> Result<(Vec<Completion>, Stats, f64), Failure> {
    let params = SamplingParams {
        temperature,
        top_p: 0.95,
        top_k: 0,
        min_p: 0.0,
        repetition_penalty: 1.0,
        min_new_tokens: 0,
        stop: Vec::new(),
        // Every completion has its full length, as at the peers.
        eos_ids: Vec::new(),
    };
    let mut done = Vec::new();
    let mut take = |completion| {
        done.push(completion);
        ControlFlow::Continue(())
    };
    let start = Instant::now();
    let stats = generate(decoder, tokenizer, requests, &params, 42, &EngineOptions::of(batch_size), &mut take)?;
    let seconds = start.elapsed().as_secs_f64();
    done.sort_by_key(|c| (c.request, c.sample_index));
    Ok((done, stats, seconds))
}

/// Processor time of all threads of this process, in the usual ticks of 1/100 s.
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    Some(ticks / 100.0)
}

/// Peak resident memory of this process, where the system says so.
fn peak_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? >> 10)
}
