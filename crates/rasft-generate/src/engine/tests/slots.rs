//! Slots are refilled, prompts are computed once, and the figures say so.

use super::*;

#[test]
fn every_sample_is_delivered_once_and_no_prompt_computed_twice() {
    let decoder = random_model();
    // More samples than slots, of prompts that are shared by more samples than there are slots.
    let samples = [9, 1, 30, 2, 0, 7];
    let request = |(i, n): (usize, &u32)| Request {
        problem_id: format!("p{i}"),
        prompt_ids: prompt(3 + 9 * i, i as u64),
        samples: (4..4 + n).collect(),
        max_new_tokens: 3 + 5 * i,
    };
    let requests: Vec<Request> = samples.iter().enumerate().map(request).collect();
    let params = SamplingParams { eos_ids: vec![2, 3, 4, 5, 6, 7, 8, 9, 10, 11], ..plain() };
    let wanted: Vec<(usize, u32)> =
        requests.iter().enumerate().flat_map(|(r, q)| q.samples.iter().map(move |s| (r, *s))).collect();
    let prompts = |of: &dyn Fn(u64) -> u64| -> u64 {
        requests.iter().map(|r| of(r.samples.len() as u64) * r.prompt_ids.len() as u64).sum()
    };
    for batch_size in [1, 2, 5, 8, 49, 200] {
        for step_tokens in [1, 20, STEP_TOKENS] {
            let (all, stats) = run_with(&decoder, &requests, &params, (batch_size, step_tokens));
            let got: Vec<(usize, u32)> = all.iter().map(|c| (c.request, c.sample_index)).collect();
            assert_eq!(got, wanted);
            assert_eq!(stats.prompt_tokens, prompts(&|n| n.min(1)), "{batch_size} {step_tokens}");
            assert_eq!(stats.shared_prompt_tokens, prompts(&|n| n.saturating_sub(1)), "{batch_size} {step_tokens}");
            assert_eq!(stats.tokens, all.iter().map(|c| c.token_ids.len() as u64).sum::<u64>());
            assert_eq!(stats.decoded, stats.tokens - 49);
            assert_eq!((stats.completions, stats.slots), (49, batch_size.min(49) as u64));
        }
    }
}

#[test]
fn finished_slots_take_the_next_sample_at_once() {
    let decoder = random_model();
    // One long sample and 29 short ones in two slots: the short ones all go through the other slot meanwhile.
    let mut requests = vec![request("long", prompt(2, 1), 1, 60)];
    requests.extend((0..29).map(|i| request(&format!("p{i}"), prompt(1, i), 1, 2)));
    let job = Job { decoder: &decoder, codec: &Names, requests: &requests, params: &plain(), seed: 42 };
    let mut all = Collect::default();
    let mut engine = Engine::new(job, &EngineOptions::of(2), STEP_TOKENS).unwrap();
    let stats = engine.run(&mut all).unwrap();
    assert_eq!(all.completions.last().unwrap().request, 0, "the long one ends last");
    // A pass for the prompts, then 59 for the long sample; a short one takes a pass for its prompt and one for a token.
    assert_eq!(stats.steps, 60);
    assert!((stats.occupancy() - (59.0 + 29.0) / 120.0).abs() < 1e-12, "{}", stats.occupancy());
    assert_eq!(Stats::default().occupancy(), 0.0);
}

#[test]
fn passes_hold_no_more_rows_than_allowed() {
    let decoder = random_model();
    let requests: Vec<Request> = (0..4).map(|i| request(&format!("p{i}"), prompt(30, i), 1, 5)).collect();
    let passes = |step_tokens| run_with(&decoder, &requests, &plain(), (4, step_tokens)).1.steps;
    // 120 prompt tokens: in one pass, or in 12 of at most 10, which grow fewer as samples decode beside them.
    assert_eq!(passes(STEP_TOKENS), 1 + 4);
    assert_eq!(passes(120), 1 + 4);
    assert!(passes(10) >= 12 + 4, "{}", passes(10));
}

#[test]
fn memory_bounds_the_slots() {
    let decoder = random_model();
    let requests = [request("p", prompt(10, 1), 6, 20), request("q", prompt(4, 2), 6, 9)];
    // The longest sample has 30 tokens.
    let each = KvCache::slot_bytes(decoder.config(), 30);
    let run = |bytes, batch_size| {
        let job = Job { decoder: &decoder, codec: &Names, requests: &requests, params: &plain(), seed: 42 };
        let options = EngineOptions { batch_size, cache_bytes: Some(bytes) };
        let mut all = Collect::default();
        let stats = Engine::new(job, &options, STEP_TOKENS)?.run(&mut all)?;
        all.completions.sort_by_key(|c| (c.request, c.sample_index));
        Ok::<_, GenerateError>((stats.slots, all.completions))
    };
    let (one, expected) = run(each, 99).unwrap();
    assert_eq!(one, 1);
    for (bytes, batch_size, slots) in [(3 * each + 1, 99, 3), (3 * each, 2, 2), (usize::MAX, 99, 12)] {
        let (found, completions) = run(bytes, batch_size).unwrap();
        assert_eq!(found, slots);
        assert_eq!(completions, expected);
    }
    let message = run(each - 1, 99).unwrap_err().to_string();
    assert!(message.contains("30 tokens") && message.contains("--memory"), "{message}");
}
