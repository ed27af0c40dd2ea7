//! The chain from logits to token: greedy, penalty, early ends, random streams.

use super::*;
use crate::testing::{noise, plain};

fn greedy() -> SamplingParams {
    SamplingParams { temperature: 0.0, ..plain() }
}

fn next(sampler: &mut Sampler, logits: &[f32], params: &SamplingParams) -> Option<(u32, f32)> {
    sampler.next(logits, params, &mut Scratch::default())
}

fn sampler(params: &SamplingParams, prompt: &[u32]) -> Sampler {
    Sampler::new(sample_rng(1, "p", 0), prompt, params)
}

#[test]
fn greedy_takes_the_first_of_the_largest() {
    let params = greedy();
    let (token, logprob) = next(&mut sampler(&params, &[]), &[0.5, 2.0, -1.0, 2.0], &params).unwrap();
    assert_eq!(token, 1);
    let z = 0.5f64.exp() + 2.0 * 2f64.exp() + (-1f64).exp();
    assert!((f64::from(logprob) - (2.0 - z.ln())).abs() < 1e-6);
    let nearly = SamplingParams { temperature: 9e-6, ..plain() };
    assert_eq!(next(&mut sampler(&nearly, &[]), &[0.5, 2.0, -1.0, 2.0], &nearly).unwrap().0, 1);
}

#[test]
fn the_penalty_falls_on_prompt_and_completion_once_each() {
    let params = SamplingParams { repetition_penalty: 2.0, ..greedy() };
    // Token 0 is in the prompt, twice: 3 becomes 1.5. Then token 1 wins with 2, and becomes 1, then token 0 with 1.5.
    let logits = [3.0, 2.0, 1.25, -1.0];
    let mut s = sampler(&params, &[0, 0]);
    let chosen: Vec<u32> = (0..3).map(|_| next(&mut s, &logits, &params).unwrap().0).collect();
    assert_eq!(chosen, [1, 0, 0]);
    // Negative logits are multiplied: −1 becomes −2, so −1.5 wins.
    assert_eq!(next(&mut sampler(&params, &[0]), &[-1.0, -1.5], &params).unwrap().0, 1);
    // Ids outside the vocabulary do no harm.
    assert_eq!(next(&mut sampler(&params, &[9]), &[-1.0, -1.5], &params).unwrap().0, 0);
}

#[test]
fn the_logprob_is_that_of_the_logits_as_they_came() {
    let logits = noise(50, 8);
    let params = SamplingParams {
        temperature: 0.4,
        top_k: 3,
        repetition_penalty: 1.7,
        min_new_tokens: 9,
        eos_ids: vec![4],
        ..plain()
    };
    let mut s = sampler(&params, &[1, 2, 3]);
    for _ in 0..20 {
        let (token, got) = next(&mut s, &logits, &params).unwrap();
        let lse = logits.iter().map(|z| f64::from(*z).exp()).sum::<f64>().ln();
        assert!((f64::from(got) - (f64::from(logits[token as usize]) - lse)).abs() < 1e-6);
    }
}

#[test]
fn the_end_is_not_chosen_too_early() {
    let params = SamplingParams { min_new_tokens: 2, eos_ids: vec![0, 99], ..greedy() };
    let mut s = sampler(&params, &[]);
    let chosen: Vec<u32> = (0..3).map(|_| next(&mut s, &[5.0, 1.0], &params).unwrap().0).collect();
    assert_eq!(chosen, [1, 1, 0]);
    // Nothing is left when the only token is ruled out.
    assert_eq!(next(&mut sampler(&params, &[]), &[5.0], &params), None);
}

#[test]
fn logits_that_are_no_numbers_are_refused() {
    for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for params in [greedy(), plain()] {
            assert_eq!(next(&mut sampler(&params, &[]), &[0.0, odd, 1.0], &params), None);
        }
    }
}

#[test]
fn streams_differ_by_seed_problem_and_sample_and_advance_by_one_draw_a_token() {
    let draws = |seed, problem: &str, sample| {
        let mut rng = sample_rng(seed, problem, sample);
        [rng.next_u64(), rng.next_u64(), rng.next_u64()]
    };
    let streams = [draws(1, "p", 0), draws(2, "p", 0), draws(1, "q", 0), draws(1, "p", 1), draws(1, "", 0)];
    for (i, a) in streams.iter().enumerate() {
        assert!(streams[..i].iter().all(|b| a[0] != b[0]));
    }
    assert_eq!(streams[0], draws(1, "p", 0));
    // Whatever the parameters, the third token is drawn with the third number.
    for params in [greedy(), plain(), SamplingParams { top_p: 0.5, ..plain() }] {
        let mut s = sampler(&params, &[]);
        let _ = next(&mut s, &[0.0, 1.0], &params);
        let _ = next(&mut s, &[0.0, 1.0], &params);
        assert_eq!(s.rng.next_u64(), streams[0][2]);
    }
}

#[test]
fn scratch_leaves_no_trace() {
    let params = SamplingParams { top_p: 0.9, repetition_penalty: 1.1, ..plain() };
    let mut used = Scratch::default();
    let (mut a, mut b) = (sampler(&params, &[3]), sampler(&params, &[3]));
    for i in 0..50 {
        let logits = noise(10 + (i * 37) % 400, i as u64);
        assert_eq!(a.next(&logits, &params, &mut used), b.next(&logits, &params, &mut Scratch::default()));
    }
}
