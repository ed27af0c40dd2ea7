//! Greedy tokens and log-probabilities against the oracle and against a forward pass without a cache.

use super::*;
use crate::sampler::Sampler;
use crate::{Scratch, sample_rng};
use rasft_model::Packed;
use rasft_types::FinishReason;

fn greedy() -> SamplingParams {
    SamplingParams { temperature: 0.0, ..plain() }
}

fn ids(value: &serde_json::Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

#[test]
fn greedy_tokens_are_the_oracles() {
    for (name, dir, decoder) in golden_models() {
        let json = std::fs::read(dir.join("expected.json")).unwrap();
        let expected = &serde_json::from_slice::<serde_json::Value>(&json).unwrap()["greedy"];
        let tokens = ids(&expected["tokens"]);
        let requests = [request("p", ids(&expected["prompt"]), 3, tokens.len())];
        for completion in run(&decoder, &requests, &greedy()) {
            assert_eq!(completion.token_ids, tokens, "{name}");
            assert_eq!(completion.finish_reason, FinishReason::Length);
        }
    }
}

/// Rows of logits of one sequence, computed whole and without a cache.
fn uncached(decoder: &Decoder, ids: &[u32]) -> Vec<Vec<f32>> {
    let hidden = decoder.hidden(&Packed::from_sequences(&[ids])).unwrap();
    decoder.logits(&hidden).unwrap().to_vec2().unwrap()
}

fn mixed_requests() -> Vec<Request> {
    (0..5).map(|i| request(&format!("p{i}"), prompt(1 + 11 * i, i as u64), 3, 20)).collect()
}

#[test]
fn logprobs_are_those_of_a_fresh_forward_pass() {
    let params = SamplingParams { temperature: 1.3, top_p: 0.9, repetition_penalty: 1.2, ..plain() };
    for (name, _, decoder) in golden_models() {
        let requests = mixed_requests();
        for completion in run(&decoder, &requests, &params) {
            let prompt_ids = &requests[completion.request].prompt_ids;
            let whole = [prompt_ids.as_slice(), &completion.token_ids].concat();
            let hidden = decoder.hidden(&Packed::from_sequences(&[&whole[..whole.len() - 1]])).unwrap();
            let logprobs = decoder.token_logprobs(&hidden, &whole[1..]).unwrap().to_vec1::<f32>().unwrap();
            let fresh = &logprobs[prompt_ids.len() - 1..];
            assert_eq!(fresh.len(), completion.token_logprobs.len());
            for (a, b) in fresh.iter().zip(&completion.token_logprobs) {
                assert!((a - b).abs() <= 1e-5, "{name}: {a} {b}");
            }
        }
    }
}

/// The same tokens as a loop without engine, cache or neighbours: full forward pass, then the sampler.
#[test]
fn the_engine_adds_nothing_to_decoder_and_sampler() {
    let params = SamplingParams {
        temperature: 0.9,
        top_p: 0.95,
        min_p: 0.01,
        repetition_penalty: 1.1,
        eos_ids: vec![2],
        ..plain()
    };
    let mut models: Vec<Decoder> = golden_models().into_iter().map(|(_, _, decoder)| decoder).collect();
    models.push(random_model());
    for decoder in &models {
        let requests = mixed_requests();
        for completion in run(decoder, &requests, &params) {
            let wanted = &requests[completion.request];
            let rng = sample_rng(42, &wanted.problem_id, completion.sample_index);
            let mut sampler = Sampler::new(rng, &wanted.prompt_ids, &params);
            let mut whole = wanted.prompt_ids.clone();
            let context = decoder.config().max_position_embeddings;
            let limit = (whole.len() + 20).min(context);
            while whole.len() < limit && (whole.len() == wanted.prompt_ids.len() || whole.last() != Some(&2)) {
                let logits = uncached(decoder, &whole);
                whole.push(sampler.next(logits.last().unwrap(), &params, &mut Scratch::default()).unwrap().0);
            }
            assert_eq!(whole[wanted.prompt_ids.len()..], completion.token_ids);
        }
    }
}
