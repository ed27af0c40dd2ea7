//! Asks a model one question, greedily, and measures prefill and decode.
//!
//! `cargo run -p rasft-model --example chat -- MODEL_DIR "question" [BATCH]`

use std::io::Write as _;
use std::time::Instant;

use rasft_model::template::TemplateChoice;
use rasft_model::{
    ChatTemplate, Decoder, Detokenizer, KvCache, LoadOptions, ModelDir, Packed, Specials, TextCodec as _, Tokenizer,
};

const MAX_NEW_TOKENS: usize = 64;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let usage = "usage: chat MODEL_DIR QUESTION [BATCH]";
    let dir = ModelDir::open(args.next().ok_or(usage)?)?;
    let question = args.next().ok_or(usage)?;
    let batch: usize = args.next().map_or(Ok(1), |n| n.parse())?;
    let start = Instant::now();
    let decoder = Decoder::load(&dir, &LoadOptions::default())?;
    let tokenizer = Tokenizer::from_dir(&dir)?;
    let template = ChatTemplate::from_dir(&dir, &tokenizer, TemplateChoice::OwnOrChatMl)?;
    eprintln!("loaded {} parameters in {:.2?}", decoder.n_parameters(), start.elapsed());
    let prompt = tokenizer.encode(&template.prompt(None, &question)?, Specials::Omit)?.ids;
    let mut cache = KvCache::new(decoder.config(), batch, prompt.len() + MAX_NEW_TOKENS)?;

    let mut packed = Packed::new();
    (0..batch).for_each(|slot| packed.push(&prompt, 0, slot));
    let start = Instant::now();
    let mut next = greedy(&decoder, &packed, &mut cache)?;
    rate("prefill", packed.len(), start);

    let (mut detokenizer, start, mut n) = (Detokenizer::new(), Instant::now(), 0);
    let mut speaking = true;
    for _ in 0..MAX_NEW_TOKENS {
        speaking &= !tokenizer.eos_ids().contains(&next[0]);
        if speaking {
            print!("{}", detokenizer.push(&tokenizer, next[0])?);
            std::io::stdout().flush()?;
        }
        let mut packed = Packed::new();
        (0..batch).for_each(|slot| packed.push(&[next[slot]], cache.len(slot), slot));
        next = greedy(&decoder, &packed, &mut cache)?;
        n += batch;
    }
    println!("{}", detokenizer.finish(&tokenizer)?);
    rate("decode", n, start);
    Ok(())
}

/// The likeliest next token of each span.
fn greedy(decoder: &Decoder, packed: &Packed, cache: &mut KvCache) -> Result<Vec<u32>, Failure> {
    let hidden = decoder.hidden_cached(packed, cache)?;
    let last: Vec<u32> = packed.spans.iter().map(|s| (s.start + s.len - 1) as u32).collect();
    let last = candle_core::Tensor::new(last, decoder.device())?;
    Ok(decoder.logits(&hidden.index_select(&last, 0)?)?.argmax(1)?.to_vec1()?)
}

fn rate(what: &str, n_tokens: usize, start: Instant) {
    let seconds = start.elapsed().as_secs_f64();
    eprintln!("{what}: {n_tokens} tokens in {seconds:.3} s, {:.0} tokens/s", n_tokens as f64 / seconds);
}
