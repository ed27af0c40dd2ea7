//! How completions end: end-of-sequence tokens, stop strings, limits, refusals, breaks, damaged weights.

use super::*;
use rasft_types::FinishReason;

fn one(decoder: &Decoder, request: Request, params: &SamplingParams) -> Completion {
    run(decoder, &[request], params).remove(0)
}

/// A long sample to compare the shortened ones with.
fn free(decoder: &Decoder) -> Completion {
    let completion = one(decoder, request("p", prompt(6, 1), 1, 40), &plain());
    assert_eq!((completion.token_ids.len(), completion.finish_reason), (40, FinishReason::Length));
    completion
}

fn starts(short: &Completion, long: &Completion) {
    let n = short.token_ids.len();
    assert_eq!(short.token_ids, long.token_ids[..n]);
    assert_eq!(short.token_logprobs, long.token_logprobs[..n]);
}

#[test]
fn the_end_token_stays_among_the_tokens_but_not_in_the_text() {
    let decoder = random_model();
    let long = free(&decoder);
    // Every token but special ones shows in the text.
    let params = SamplingParams { eos_ids: vec![2], ..plain() };
    let requests: Vec<Request> = (0..40).map(|i| request(&format!("p{i}"), prompt(6, i), 2, 50)).collect();
    let ended: Vec<Completion> =
        run(&decoder, &requests, &params).into_iter().filter(|c| c.finish_reason == FinishReason::Stop).collect();
    assert!(!ended.is_empty());
    for completion in &ended {
        let (last, before) = completion.token_ids.split_last().unwrap();
        assert!(*last == 2 && !before.contains(&2));
        assert_eq!(completion.text, Names.decode(before, SpecialText::Skip).unwrap());
        assert_eq!(completion.token_logprobs.len(), completion.token_ids.len());
    }
    // An end token that is no special token of the tokenizer.
    let params = SamplingParams { eos_ids: vec![long.token_ids[9]], ..plain() };
    let at = long.token_ids.iter().position(|id| *id == long.token_ids[9]).unwrap();
    let short = one(&decoder, request("p", prompt(6, 1), 1, 40), &params);
    assert_eq!((short.token_ids.len(), short.finish_reason), (at + 1, FinishReason::Stop));
    starts(&short, &long);
}

#[test]
fn stop_strings_across_tokens_cut_the_text_only() {
    let decoder = random_model();
    let long = free(&decoder);
    // From inside token 10 over token 11 into token 12.
    let [a, b, c] = [10, 11, 12].map(|i| long.token_ids[i]);
    let stop = format!("{} t{b} t{}", a % 10, c.to_string().chars().next().unwrap());
    let params = SamplingParams { stop: vec!["never said".into(), stop.clone()], ..plain() };
    let short = one(&decoder, request("p", prompt(6, 1), 1, 40), &params);
    assert_eq!(short.finish_reason, FinishReason::Stop);
    assert_eq!(short.token_ids.len(), 13);
    starts(&short, &long);
    assert_eq!(short.text, long.text[..long.text.find(&stop).unwrap()]);
    assert!(short.text.ends_with(&(a / 10).to_string()) && !short.text.contains(&stop));
    assert!(Names.decode(&short.token_ids, SpecialText::Skip).unwrap().contains(&stop));
}

#[test]
fn nothing_ends_before_the_least_number_of_tokens() {
    let decoder = random_model();
    let long = free(&decoder);
    let text = format!("t{} ", long.token_ids[4]);
    let at = |min_new_tokens| {
        let params = SamplingParams { stop: vec![text.clone()], min_new_tokens, ..plain() };
        one(&decoder, request("p", prompt(6, 1), 1, 40), &params).token_ids.len()
    };
    let positions: Vec<usize> = (0..40).filter(|i| long.token_ids[*i] == long.token_ids[4]).collect();
    assert_eq!(at(0), positions[0] + 1);
    assert_eq!(at(positions[0] as u32), positions[0] + 1);
    assert_eq!(at(positions[0] as u32 + 1), positions.get(1).map_or(40, |i| i + 1));
    // End tokens are not even chosen.
    let all: Vec<u32> = (0..48).collect();
    let params = SamplingParams { eos_ids: all, min_new_tokens: 11, ..plain() };
    let late = one(&decoder, request("p", prompt(6, 1), 1, 40), &params);
    assert!(late.token_ids.len() >= 12 && late.token_ids[..11].iter().all(|id| *id >= 48));
    assert_eq!(late.finish_reason, FinishReason::Stop);
}

#[test]
fn limits_of_request_and_context() {
    let decoder = random_model();
    for (n, max, expected) in [(6, 1, 1), (6, 17, 17), (60, 17, 4), (63, 17, 1)] {
        let completion = one(&decoder, request("p", prompt(n, 1), 1, max), &plain());
        assert_eq!((completion.token_ids.len(), completion.finish_reason), (expected, FinishReason::Length));
        assert_eq!(completion.error, None);
    }
}

#[test]
fn prompts_without_room_are_answered_with_a_reason() {
    let decoder = random_model();
    let requests = [
        request("long", prompt(64, 1), 2, 10),
        request("good", prompt(6, 1), 2, 10),
        request("empty", vec![], 1, 10),
        request("none", prompt(5, 1), 1, 0),
        request("nothing wanted", prompt(5, 1), 0, 9),
    ];
    let all = run(&decoder, &requests, &plain());
    let reason = |c: &Completion| c.error.clone().unwrap_or_default();
    assert_eq!(all.iter().map(|c| c.request).collect::<Vec<_>>(), [0, 0, 1, 1, 2, 3]);
    assert_eq!(reason(&all[1]), "the prompt of 64 tokens leaves no room for a completion in a context of 64 tokens");
    assert_eq!(reason(&all[4]), "the prompt has no token");
    assert_eq!(reason(&all[5]), "no new token is allowed after the prompt of 5 tokens");
    for completion in &all {
        let failed = completion.finish_reason == FinishReason::Error;
        assert_eq!(failed, completion.error.is_some());
        assert_eq!(failed, completion.token_ids.is_empty());
        assert_eq!(failed, completion.text.is_empty());
    }
    assert_eq!(all.iter().filter(|c| c.error.is_some()).count(), 4);
    // Nothing at all is no error either.
    assert!(run(&decoder, &[], &plain()).is_empty());
}

#[test]
fn a_break_ends_the_run_and_keeps_what_was_delivered() {
    let decoder = random_model();
    let requests: Vec<Request> = (0..9).map(|i| request(&format!("p{i}"), prompt(6, i), 2, 5 + i as usize)).collect();
    let (expected, _) = run_with(&decoder, &requests, &plain(), (4, STEP_TOKENS));
    let broken = |mut collect: Collect| {
        let (params, options) = (plain(), EngineOptions::of(4));
        let stats = generate_observed(&decoder, &Names, &requests, &params, 42, &options, &mut collect).unwrap();
        assert_eq!(stats.completions, collect.completions.len() as u64);
        assert!(collect.completions.iter().all(|c| expected.contains(c)));
        (collect.completions.len(), stats.steps)
    };
    assert_eq!(broken(Collect { enough: Some(3), ..Collect::default() }).0, 3);
    assert_eq!(broken(Collect { enough: Some(18), ..Collect::default() }).0, 18);
    assert_eq!(broken(Collect { last_step: Some(1), ..Collect::default() }), (0, 1));
    let (n, steps) = broken(Collect { last_step: Some(12), ..Collect::default() });
    assert!(steps == 12 && n > 0 && n < 18);
    let refused = [request("none", vec![], 5, 10)];
    let mut first = Collect { enough: Some(1), ..Collect::default() };
    generate_observed(&decoder, &Names, &refused, &plain(), 42, &EngineOptions::of(4), &mut first).unwrap();
    assert_eq!(first.completions.len(), 1);
}

#[test]
fn wrong_parameters_and_damaged_weights_are_errors() {
    let decoder = random_model();
    let requests = [request("p7", prompt(6, 1), 2, 10)];
    let fail = |params: &SamplingParams, batch_size| {
        let mut take = |_| ControlFlow::Continue(());
        let options = EngineOptions::of(batch_size);
        generate(&decoder, &Names, &requests, params, 42, &options, &mut take).unwrap_err().to_string()
    };
    assert!(fail(&SamplingParams { top_p: 2.0, ..plain() }, 4).contains("top_p is 2"));
    assert!(fail(&plain(), 0).contains("batch_size is 0, expected at least 1"));
    let (_, norm) = decoder.parameters().iter().find(|(name, _)| name == "model.norm.weight").unwrap();
    norm.set(&(norm.as_tensor() * f64::NAN).unwrap()).unwrap();
    let message = fail(&plain(), 4);
    assert!(message.contains("problem p7, sample") && message.contains("not finite"), "{message}");
}
