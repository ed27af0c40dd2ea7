//! The same bytes for every batch size, prefill chunk, number of threads and order of requests.

use super::*;

/// Everything of a completion, floats as bits.
type Bits = (usize, u32, Vec<u32>, Vec<u32>, String, String, Option<String>);

fn bits(completions: &[Completion]) -> Vec<Bits> {
    let bits = |c: &Completion| {
        let logprobs = c.token_logprobs.iter().map(|p| p.to_bits()).collect();
        let reason = c.finish_reason.as_str().to_owned();
        (c.request, c.sample_index, c.token_ids.clone(), logprobs, c.text.clone(), reason, c.error.clone())
    };
    completions.iter().map(bits).collect()
}

/// Prompts of 1 to 61 tokens, one that is too long, some twice, 47 samples in all.
fn requests(context: usize) -> Vec<Request> {
    let lens = [5, 40, 1, 61, context + 1, 17, 33, 2, 17];
    let samples = [3, 1, 9, 4, 2, 16, 5, 1, 6];
    let make = |i: usize| {
        let max_new_tokens = [30, 12, 45, 7, 9, 24, 1, 60, 24][i];
        request(&format!("problem {i}"), prompt(lens[i], lens[i] as u64), samples[i], max_new_tokens)
    };
    (0..9).map(make).collect()
}

fn params() -> SamplingParams {
    SamplingParams {
        temperature: 0.9,
        top_p: 0.95,
        repetition_penalty: 1.1,
        min_new_tokens: 2,
        eos_ids: vec![2, 30, 31, 32],
        stop: vec!["9 t1".into(), "t77".into()],
        ..plain()
    }
}

fn with_threads<T: Send>(n: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap().install(work)
}

fn check(name: &str, decoder: &Decoder) {
    let (requests, params) = (requests(decoder.config().max_position_embeddings), params());
    let (expected, _) = with_threads(1, || run_with(decoder, &requests, &params, (1, STEP_TOKENS)));
    let expected = bits(&expected);
    assert_eq!(expected.len(), 47);
    let reasons: std::collections::BTreeSet<&str> = expected.iter().map(|b| b.5.as_str()).collect();
    assert_eq!(Vec::from_iter(reasons), ["error", "length", "stop"], "{name}: every way to end occurs");
    for threads in [1, 2] {
        for batch_size in [1, 7, 16, 64] {
            for step_tokens in [3, 50, STEP_TOKENS] {
                let run = || run_with(decoder, &requests, &params, (batch_size, step_tokens));
                let (got, stats) = with_threads(threads, run);
                assert!(bits(&got) == expected, "{name} {threads} threads, batch {batch_size}, step {step_tokens}");
                assert_eq!(stats.slots, batch_size.min(47) as u64);
            }
        }
    }
}

#[test]
fn golden_models_give_the_same_bytes_however_they_are_batched() {
    for (name, _, decoder) in golden_models() {
        check(name, &decoder);
    }
}

#[test]
fn a_random_model_gives_the_same_bytes_however_it_is_batched() {
    check("random", &random_model());
}

#[test]
fn the_order_and_the_grouping_of_requests_do_not_matter() {
    let decoder = random_model();
    let (whole, params) = (requests(64), params());
    let key = |c: &Completion, requests: &[Request]| {
        let (_, sample, tokens, logprobs, text, reason, error) = bits(std::slice::from_ref(c)).remove(0);
        (requests[c.request].problem_id.clone(), sample, tokens, logprobs, text, reason, error)
    };
    let sorted = |requests: &[Request]| {
        let (completions, _) = run_with(&decoder, requests, &params, (7, STEP_TOKENS));
        let mut all: Vec<_> = completions.iter().map(|c| key(c, requests)).collect();
        all.sort();
        all
    };
    let expected = sorted(&whole);
    let reversed: Vec<Request> = whole.iter().rev().cloned().collect();
    assert!(sorted(&reversed) == expected);
    // Each sample a request of its own, last sample first.
    let alone = |r: &Request, s| Request { samples: vec![s], ..r.clone() };
    let single: Vec<Request> = whole.iter().flat_map(|r| r.samples.iter().rev().map(move |s| alone(r, *s))).collect();
    assert!(sorted(&single) == expected);
}

#[test]
fn samples_of_one_problem_differ_and_seeds_matter() {
    let decoder = random_model();
    let requests = [request("p", prompt(8, 1), 6, 12)];
    let (a, _) = run_with(&decoder, &requests, &plain(), (4, STEP_TOKENS));
    for i in 0..6 {
        assert!(a[..i].iter().all(|c| c.token_ids != a[i].token_ids));
    }
    let mut other = Vec::new();
    let mut take = |completion: Completion| {
        other.push(completion.token_ids);
        ControlFlow::Continue(())
    };
    generate(&decoder, &Names, &requests, &plain(), 43, &EngineOptions::of(1), &mut take).unwrap();
    assert!(other.iter().zip(&a).all(|(b, a)| *b != a.token_ids));
}
