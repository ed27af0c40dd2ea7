//! Whole models: losses, ratios, gradients and three AdamW steps, against `golden/models/*`.

use crate::support::{assert_close, floats, golden, numbers, params, read_json, widened};
use candle_core::Device;
use rasft_learn::reference::score;
use rasft_learn::{
    AdamWParams, MicroBatching, Normalization, Schedule, ScheduleKind, Trainer, TrainerParams, Trajectory,
};
use rasft_model::{Decoder, LoadOptions, ModelDir};
use rasft_types::StepMetrics;
use serde_json::Value;
use std::path::{Path, PathBuf};

struct Golden {
    dir: PathBuf,
    expected: Value,
    /// The two micro-batches, with the reference's log-probabilities filled in.
    micro: Vec<Vec<Trajectory>>,
}

impl Golden {
    fn load(dir: PathBuf) -> Self {
        let expected = read_json(&dir.join("expected.json"));
        let reference = decoder(&dir.join("reference"), &LoadOptions::default());
        let micro = expected["micro"].as_array().unwrap().iter().map(|m| filled(rows_of(m), &reference)).collect();
        Self { dir, expected, micro }
    }

    fn trainer(&self, params: TrainerParams) -> Trainer {
        Trainer::new(decoder(&self.dir.join("policy"), &LoadOptions::trainable()), params)
    }

    fn params(&self) -> TrainerParams {
        let number = |name: &str| self.expected[name].as_f64().unwrap();
        let betas = numbers(&self.expected["betas"]);
        TrainerParams {
            normalization: Normalization::MicroBatch,
            micro_batching: MicroBatching::Sequences(3),
            learning_rate: number("lr"),
            schedule: Schedule {
                kind: ScheduleKind::Cosine,
                warmup_steps: number("warmup_steps") as u64,
                total_steps: number("total_steps") as u64,
            },
            max_grad_norm: number("max_grad_norm"),
            adamw: AdamWParams {
                beta1: betas[0],
                beta2: betas[1],
                eps: number("eps"),
                weight_decay: number("weight_decay"),
                no_decay_norms: false,
            },
            ..params()
        }
    }
}

fn decoder(dir: &Path, options: &LoadOptions) -> Decoder {
    Decoder::load(&ModelDir::open(dir).unwrap(), options).unwrap()
}

/// The sequences of a padded micro-batch; trained tokens are those from the first label on.
fn rows_of(micro: &Value) -> Vec<Trajectory> {
    let (weights, lengths) = (numbers(&micro["advantages"]), numbers(&micro["lengths"]));
    let row = |b: usize| {
        let len = lengths[b] as usize;
        let ids = numbers(&micro["input_ids"][b]);
        let labels = numbers(&micro["labels"][b]);
        let prompt_len = labels.iter().position(|l| *l >= 0.0).unwrap();
        assert_eq!(labels[prompt_len..len], ids[prompt_len..len]);
        Trajectory {
            id: format!("row {b}"),
            input_ids: ids[..len].iter().map(|id| *id as u32).collect(),
            prompt_len,
            weight: weights[b],
            ref_logprob: f32::NAN,
            old_logprobs: Vec::new(),
        }
    };
    (0..lengths.len()).map(row).collect()
}

fn filled(mut rows: Vec<Trajectory>, reference: &Decoder) -> Vec<Trajectory> {
    let scores = score(reference, &rows, 1 << 20).unwrap();
    rows.iter_mut().zip(scores).for_each(|(row, s)| row.ref_logprob = s.mean_logprob);
    rows
}

fn each(check: impl Fn(&Golden)) {
    let Some(golden) = golden() else { return };
    for arch in ["qwen2", "llama", "llama_rope3", "qwen3"] {
        println!("{arch}");
        check(&Golden::load(golden.join("models").join(arch)));
    }
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn check_ratios(metrics: &StepMetrics, expected: &Value) {
    let (ratio, clipped) = (numbers(&expected["ratio"]), numbers(&expected["ratio_clip"]));
    let share = |clip: fn(f64, f64) -> bool| {
        let n = ratio.iter().zip(&clipped).filter(|(r, c)| clip(**r, **c)).count();
        n as f64 / ratio.len() as f64
    };
    assert_close("ratio", &[metrics.mean_ratio], &[mean(&clipped)], 0.0, 1e-5);
    assert_eq!(metrics.clip_low_fraction, share(|r, c| c > r));
    assert_eq!(metrics.clip_high_fraction, share(|r, c| c < r));
}

#[test]
fn losses_ratios_and_gradients_of_the_initial_policy() {
    each(|golden| {
        let tensors = candle_core::safetensors::load(golden.dir.join("expected.safetensors"), &Device::Cpu).unwrap();
        for (m, rows) in golden.micro.iter().enumerate() {
            let expected = &golden.expected["micro"][m];
            let mut trainer = golden.trainer(TrainerParams { learning_rate: 0.0, ..golden.params() });
            let losses: Vec<f64> =
                score(trainer.decoder(), rows, 1).unwrap().iter().map(|s| -f64::from(s.mean_logprob)).collect();
            assert_close("seq_loss", &losses, &numbers(&expected["seq_loss"]), 1e-5, 0.0);
            let metrics = trainer.step(&rows.iter().collect::<Vec<_>>()).unwrap();
            assert_close("loss", &[metrics.loss], &[number(&expected["rasft_loss"])], 1e-7, 1e-5);
            let norm = number(&expected["grad_norm_total"]);
            assert_close("norm", &[metrics.grad_norm], &[norm], 1e-7, 1e-5);
            check_ratios(&metrics, expected);
            assert_eq!(trainer.gradients().count(), expected["grad_norms"].as_object().unwrap().len());
            for (name, grad) in trainer.gradients() {
                let of_parameter = widened(grad).iter().map(|g| g * g).sum::<f64>().sqrt();
                assert_close(name, &[of_parameter], &[number(&expected["grad_norms"][name])], 1e-6, 1e-4);
                if let Some(recorded) = tensors.get(&format!("mb{m}/grad/{name}")) {
                    assert_close(name, &widened(grad), &widened(&floats(recorded)), 1e-6, 1e-4);
                }
            }
        }
        assert_eq!(tensors.keys().any(|k| k.starts_with("mb0/grad/")), has_gradients(golden));
    });
}

/// The oracle has full gradients for these two only.
fn has_gradients(golden: &Golden) -> bool {
    golden.dir.ends_with("qwen2") || golden.dir.ends_with("llama")
}

#[test]
fn three_steps_of_adamw() {
    each(|golden| {
        let tensors = candle_core::safetensors::load(golden.dir.join("expected.safetensors"), &Device::Cpu).unwrap();
        let noise = number(&golden.expected["rounding_noise"]["after3"]);
        let mut trainer = golden.trainer(golden.params());
        let batch: Vec<&Trajectory> = golden.micro.iter().flatten().collect();
        let steps = golden.expected["steps"].as_array().unwrap();
        for expected in steps {
            let metrics = trainer.step(&batch).unwrap();
            let loss: f64 = numbers(&expected["scaled_micro_losses"]).iter().sum();
            assert_close("loss", &[metrics.loss], &[loss], 1e-6, 1e-4);
            assert_close("norm", &[metrics.grad_norm], &[number(&expected["grad_norm"])], 1e-6, 1e-4);
            assert_close("lr", &[metrics.learning_rate], &[number(&expected["lr"])], 0.0, 1e-12);
            for (name, var) in trainer.decoder().parameters() {
                let norm = widened(&floats(var)).iter().map(|x| x * x).sum::<f64>().sqrt();
                assert_close(name, &[norm], &[number(&expected["param_norms"][name])], 1e-5, 1e-5);
            }
        }
        for (name, var) in trainer.decoder().parameters() {
            if let Some(recorded) = tensors.get(&format!("after3/{name}")) {
                assert_close(name, &widened(&floats(var)), &widened(&floats(recorded)), 10.0 * noise, 0.0);
            }
        }
        let losses = mean(&numbers(&steps[2]["unscaled_losses_after"]));
        assert_close("loss after", &[trainer.step(&batch).unwrap().loss], &[losses], 1e-6, 1e-4);
    });
}
