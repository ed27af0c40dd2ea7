//! One problem from raw samples to weights against the reference's recorded refresh (`golden/pipeline.jsonl`), with the fixtures'
//! stub tokenizer of one token per code point and the two stages of its verifier that they need.

mod common;
#[path = "common/flags.rs"]
mod flags;
#[path = "common/lists.rs"]
mod lists;
#[path = "common/params.rs"]
mod params;

use common::{close, f64, golden, list, str, usize};
use flags::bool;
use lists::all_close;
use params::group_params;
use rasft_method::hard_pool::leaves;
use rasft_method::rewards::keep_negatives;
use rasft_method::screen::{Form, Screened, no_limit, screen_group};
use rasft_method::solvability::solvability;
use rasft_method::{Profile, Sample, extract, text};
use serde_json::Value;
use std::borrow::Cow;

const TOLERANCE: f64 = 1e-6;

/// The prompt of §0, whose length the budget is reduced by.
fn prompt(instruction: &str) -> String {
    let system = "Please reason step by step, and put your final answer within \\boxed{}.";
    format!(
        "<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{instruction}<|im_end|>\n<|im_start|>assistant\n"
    )
}

/// §0.2 with one token per code point: what of `response` fits beside the prompt, if at least 16 tokens and 20 characters do.
fn fit<'a>(instruction: &str, max_len: Option<usize>, response: &'a str) -> Option<Cow<'a, str>> {
    let Some(max_len) = max_len else { return no_limit(response) };
    let budget = max_len.checked_sub(text::length(&prompt(instruction)) + 1).filter(|b| *b > 16)?;
    if text::length(response) <= budget {
        return Some(Cow::Borrowed(response));
    }
    let cut: String = response.chars().take(budget).collect();
    let cut = text::strip(&cut);
    (text::length(cut) >= 20).then(|| Cow::Owned(cut.to_owned()))
}

/// §7 (i) and (ii): equal strings or equal floats.
fn verify(gold: &str, predicted: &str) -> bool {
    let (g, p) = (extract::strip_wrappers(gold), extract::strip_wrappers(predicted));
    let numbers = (g.parse::<f64>(), p.parse::<f64>());
    g == p || matches!(numbers, (Ok(x), Ok(y)) if (x - y).abs() <= 1e-8)
}

#[test]
fn pipeline() {
    let Some(rows) = golden("pipeline.jsonl") else { return };
    for (n, row) in rows.iter().enumerate() {
        check(row, &format!("row {n} ({})", row["kind"]));
    }
}

fn check(row: &Value, what: &str) {
    let params = group_params(&row["params"]);
    let gold = extract::answer(str(&row["expert_response"]));
    assert_eq!(gold.as_deref(), row["gt_answer"].as_str(), "{what}: gold");
    // Without a gold answer the reference forms no group; here no sample is correct, with the same weights.
    let gold_known = gold.is_some();
    let samples = list(&row["samples"], str);
    let max_len = row["max_len"].as_u64().map(|n| n as usize);
    let screened = screen_group(&samples, Form::Math, |t| fit(str(&row["instruction"]), max_len, t));
    let correct: Vec<bool> = screened
        .iter()
        .map(|s| gold.as_ref().is_some_and(|g| extract::answer(&s.text).is_some_and(|a| verify(g, &a))))
        .collect();
    let ids: Vec<String> = (0..samples.len()).map(|i| i.to_string()).collect();
    let judged: Vec<Sample<'_>> = (0..samples.len())
        .map(|i| Sample {
            rollout_id: &ids[i],
            text: &screened[i].text,
            correct: correct[i],
            usable: screened[i].is_usable(),
            duplicate: screened[i].duplicate_of.is_some(),
        })
        .collect();
    let got = solvability("p", &judged, &params);

    if gold_known {
        assert_eq!(got.n_unique as usize, usize(&row["k_total"]), "{what}: k_total");
    }
    close(got.expert_weight, f64(&row["expert_weight"]), TOLERANCE, what);
    let rollouts = row["rollouts"].as_array().unwrap();
    all_close(&got.rollout_weights, &list(&row["rollouts"], |r| f64(&r["weight"])), TOLERANCE, what);
    for (id, expected) in got.rollout_ids.iter().zip(rollouts) {
        check_identity(&screened[id.parse::<usize>().unwrap()], id, &expected["sample"], &expected["response"], what);
    }
    let in_pool = bool(&row["from_hard_pool"]) && !leaves(&got, Profile::Reference);
    assert_eq!(in_pool, bool(&row["left_in_hard_pool"]), "{what}: hard pool");
    // `None` in the reference: no gold answer, nothing usable, or no spread.
    assert_eq!(row["k_pos"].is_null(), !gold_known || got.group_advantages.is_none(), "{what}: {:?}", got.fallback);
    if !row["k_pos"].is_null() {
        check_group(row, &got, &judged, &screened, params.max_negative_keep, what);
    }
}

fn check_group(
    row: &Value,
    got: &rasft_types::Solvability,
    judged: &[Sample<'_>],
    screened: &[Screened<'_>],
    max_keep: usize,
    what: &str,
) {
    assert_eq!(got.n_correct as usize, usize(&row["k_pos"]), "{what}: k_pos");
    close(got.expert_reward, f64(&row["expert_reward"]), TOLERANCE, what);
    all_close(&got.group_rewards, &list(&row["group_rewards"], f64), TOLERANCE, what);
    all_close(got.group_advantages.as_ref().unwrap(), &list(&row["group_advantages"], f64), TOLERANCE, what);
    let of = |correct: bool| (0..judged.len()).filter(move |&i| judged[i].usable && judged[i].correct == correct);
    let texts = |indexes: &[usize]| indexes.iter().map(|&i| judged[i].text).collect::<Vec<_>>();
    let (positives, negatives): (Vec<usize>, Vec<usize>) = (of(true).collect(), of(false).collect());
    let kept = keep_negatives(&texts(&positives), &texts(&negatives), max_keep);
    let expected = row["stat_negatives"].as_array().unwrap();
    assert_eq!(kept.len(), usize(&row["n_neg_kept"]), "{what}: negatives");
    assert_eq!(kept.len(), expected.len(), "{what}: negatives");
    for (at, e) in kept.iter().zip(expected) {
        let index = negatives[*at];
        check_identity(&screened[index], &index.to_string(), e, e, what);
    }
}

/// A sample is named by its index, or by its text if it was cut.
fn check_identity(got: &Screened<'_>, index: &str, number: &Value, cut: &Value, what: &str) {
    match number.as_u64() {
        Some(n) => assert_eq!(index, n.to_string(), "{what}"),
        None => assert_eq!(got.text, str(cut), "{what}"),
    }
}
