//! `metrics`: what each optimizer step did.

use crate::table::table;
use rasft_types::StepMetrics;

table! {
    StepMetrics => "metrics" / 1, "One row for each optimizer step.";
    step: u64, "1-based optimizer step, counted over all rounds";
    loss: f64, "the objective, as normalised";
    grad_norm: f64 = f64::NAN, "global gradient norm before clipping";
    learning_rate: f64 = f64::NAN, "learning rate of the step";
    mean_ratio: f64 = f64::NAN, "mean clipped ratio over sequences: reference over policy, for grpo policy over sampler";
    clip_low_fraction: f64 = f64::NAN, "share of sequences (for grpo of their tokens) whose ratio was clipped from below";
    clip_high_fraction: f64 = f64::NAN, "share of sequences (for grpo of their tokens) whose ratio was clipped from above";
    mean_token_prob: f64 = f64::NAN, "mean probability of the target tokens";
    tokens: u64 = 0, "all tokens" in "tokens";
    response_tokens: u64 = 0, "response tokens" in "tokens";
    sequences: u64 = 0, "sequences of the step";
}
