//! Recorded transformers runs (`golden/models`): logits, log-probabilities, losses, gradients, greedy tokens.
//!
//! Tolerances are ten times the recorded difference between two attention kernels (golden/README.md).

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use rasft_model::{Decoder, KvCache, LoadOptions, ModelDir, Packed};
use serde::Deserialize;

use crate::support::{floats, max_diff, shared};

const LOGITS: f32 = 5e-5;
const LOGPROBS: f32 = 5e-5;
const LOSSES: f64 = 2e-5;
/// Gradients of the unscaled loss are around 1e-3; their elements differ by rounding only.
const GRADIENTS: f32 = 2e-6;

#[derive(Deserialize)]
struct Expected {
    micro: Vec<Micro>,
    greedy: Greedy,
}

#[derive(Deserialize)]
struct Micro {
    input_ids: Vec<Vec<u32>>,
    labels: Vec<Vec<i64>>,
    advantages: Vec<f64>,
    lengths: Vec<usize>,
    seq_loss: Vec<f64>,
    ratio: Vec<f64>,
    ratio_clip: Vec<f64>,
    rasft_loss: f64,
    grad_norms: std::collections::BTreeMap<String, f64>,
    grad_norm_total: f64,
}

#[derive(Deserialize)]
struct Greedy {
    prompt: Vec<u32>,
    tokens: Vec<u32>,
}

struct Case {
    expected: Expected,
    tensors: HashMap<String, Tensor>,
    policy: Decoder,
    reference: Decoder,
}

impl Case {
    fn open(shared: &Path, name: &str, options: &LoadOptions) -> Self {
        let dir = shared.join("golden/models").join(name);
        let load = |part: &str| Decoder::load(&ModelDir::open(dir.join(part)).unwrap(), options).unwrap();
        Self {
            expected: serde_json::from_slice(&std::fs::read(dir.join("expected.json")).unwrap()).unwrap(),
            tensors: candle_core::safetensors::load(dir.join("expected.safetensors"), &Device::Cpu).unwrap(),
            policy: load("policy"),
            reference: load("reference"),
        }
    }
}

/// Runs `check` on every architecture.
fn each(options: &LoadOptions, check: impl Fn(&str, &Case)) {
    let Some(shared) = shared() else { return };
    for name in ["qwen2", "llama", "llama_rope3", "qwen3"] {
        check(name, &Case::open(&shared, name, options));
    }
}

impl Micro {
    /// The rows without their padding.
    fn sequences(&self) -> Vec<&[u32]> {
        self.input_ids.iter().zip(&self.lengths).map(|(ids, n)| &ids[..*n]).collect()
    }

    fn packed(&self) -> Packed {
        Packed::from_sequences(&self.sequences())
    }

    /// Rows of the packed batch that predict a next token, and those tokens.
    fn predictions(&self) -> (Vec<u32>, Vec<u32>) {
        let packed = self.packed();
        let rows = packed.spans.iter().flat_map(|s| (s.start..s.start + s.len - 1).map(|r| r as u32)).collect();
        let targets = self.sequences().iter().flat_map(|ids| ids[1..].to_vec()).collect();
        (rows, targets)
    }

    /// log p of every next token, (Σ(len−1)).
    fn logprobs(&self, decoder: &Decoder) -> Tensor {
        let (rows, targets) = self.predictions();
        let hidden = decoder.hidden(&self.packed()).unwrap();
        let rows = Tensor::new(rows, &Device::Cpu).unwrap();
        decoder.token_logprobs(&hidden.index_select(&rows, 0).unwrap(), &targets).unwrap()
    }

    /// Recorded (3, 19) log-probabilities without the padding.
    fn unpadded(&self, recorded: &Tensor) -> Vec<f32> {
        let rows: Vec<Vec<f32>> = recorded.to_vec2().unwrap();
        rows.iter().zip(&self.lengths).flat_map(|(row, n)| row[..n - 1].to_vec()).collect()
    }
}

/// The loss of algorithm.md §11 and what it is made of.
struct RasftLoss {
    loss: Tensor,
    seq_loss: Vec<f64>,
    ratio: Vec<f64>,
    clipped: Vec<f64>,
}

/// `L = Σ m·CE·W / max(1, Σ m)`, `W = R̃_b·w_b·p` from detached values.
fn rasft_loss(micro: &Micro, policy: &Tensor, reference: &[f32]) -> RasftLoss {
    let values = floats(policy);
    let n_valid = micro.labels.iter().flatten().filter(|l| **l != -100).count().max(1) as f64;
    let (mut weights, mut seq_loss, mut ratio, mut clipped) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut at = 0;
    for (b, n) in micro.lengths.iter().enumerate() {
        let own = at..at + n - 1;
        let mask: Vec<f64> = micro.labels[b][1..*n].iter().map(|l| f64::from(*l != -100)).collect();
        let count = mask.iter().sum::<f64>().max(1.0);
        let mean = |x: &[f32]| -x.iter().zip(&mask).map(|(x, m)| f64::from(*x) * m).sum::<f64>() / count;
        let (new, old) = (mean(&values[own.clone()]), mean(&reference[own.clone()]));
        // These are losses, §11's ℓ are log-likelihoods: the signs change.
        let r = (new - old).clamp(-20.0, 20.0).exp();
        let r_clip = r.clamp(0.4, 1.2);
        let weight =
            |(m, logp): (&f64, &f32)| (m * r_clip * micro.advantages[b] * f64::from(*logp).exp() / n_valid) as f32;
        weights.extend(mask.iter().zip(&values[own]).map(weight));
        seq_loss.push(new);
        ratio.push(r);
        clipped.push(r_clip);
        at += n - 1;
    }
    let weights = Tensor::new(weights, &Device::Cpu).unwrap();
    let loss = (policy.neg().unwrap() * weights).unwrap().sum_all().unwrap();
    RasftLoss { loss, seq_loss, ratio, clipped }
}

fn close(what: &str, actual: &[f64], expected: &[f64], tolerance: f64) {
    for (a, e) in actual.iter().zip(expected) {
        assert!((a - e).abs() <= tolerance * e.abs().max(1.0), "{what}: {actual:?}, expected {expected:?}");
    }
}

#[test]
fn logits_of_every_real_position() {
    each(&LoadOptions::default(), |name, case| {
        let micro = &case.expected.micro[0];
        let hidden = case.policy.hidden(&micro.packed()).unwrap();
        let actual = floats(&case.policy.logits(&hidden).unwrap());
        let recorded: Vec<Vec<Vec<f32>>> = case.tensors["mb0/logits"].to_vec3().unwrap();
        let expected: Vec<f32> = recorded.iter().zip(&micro.lengths).flat_map(|(row, n)| row[..*n].concat()).collect();
        let diff = max_diff(&actual, &expected);
        println!("{name}: logits differ by {diff:e}");
        assert!(diff <= LOGITS, "{name}: {diff}");
    });
}

#[test]
fn logprobs_of_policy_and_reference() {
    each(&LoadOptions::default(), |name, case| {
        for (m, micro) in case.expected.micro.iter().enumerate() {
            for (key, decoder) in [("logprobs", &case.policy), ("ref_logprobs", &case.reference)] {
                let expected = micro.unpadded(&case.tensors[&format!("mb{m}/{key}")]);
                let diff = max_diff(&floats(&micro.logprobs(decoder)), &expected);
                assert!(diff <= LOGPROBS, "{name} mb{m} {key}: {diff}");
            }
        }
    });
}

#[test]
fn rasft_loss_and_all_its_gradients() {
    each(&LoadOptions::trainable(), |name, case| {
        for (m, micro) in case.expected.micro.iter().enumerate() {
            let reference = floats(&micro.logprobs(&case.reference));
            let logprobs = micro.logprobs(&case.policy);
            let made = rasft_loss(micro, &logprobs, &reference);
            let loss = f64::from(made.loss.to_scalar::<f32>().unwrap());
            close("loss", &[loss], &[micro.rasft_loss], 1e-6);
            close("seq_loss", &made.seq_loss, &micro.seq_loss, LOSSES);
            close("ratio", &made.ratio, &micro.ratio, LOSSES);
            close("ratio_clip", &made.clipped, &micro.ratio_clip, LOSSES);
            let grads = made.loss.backward().unwrap();
            assert_eq!(case.policy.parameters().len(), micro.grad_norms.len(), "{name}");
            let mut total = 0.0;
            for (parameter, var) in case.policy.parameters() {
                let grad = floats(grads.get(var).unwrap_or_else(|| panic!("{name}: {parameter} has no gradient")));
                let norm = grad.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
                total += norm * norm;
                let expected = micro.grad_norms[parameter];
                assert!(
                    (norm - expected).abs() <= 2e-4 * expected + 1e-7,
                    "{name} mb{m} {parameter}: {norm} {expected}"
                );
                if let Some(recorded) = case.tensors.get(&format!("mb{m}/grad/{parameter}")) {
                    let diff = max_diff(&grad, &floats(recorded));
                    assert!(diff <= GRADIENTS, "{name} mb{m} {parameter}: {diff}");
                }
            }
            close("total", &[total.sqrt()], &[micro.grad_norm_total], 1e-6);
        }
    });
}

#[test]
fn greedy_tokens_through_the_cache() {
    each(&LoadOptions::default(), |name, case| {
        let Greedy { prompt, tokens } = &case.expected.greedy;
        let mut cache = KvCache::new(case.policy.config(), 2, prompt.len() + tokens.len()).unwrap();
        let mut next = prompt.clone();
        let mut said = Vec::new();
        while said.len() < tokens.len() {
            let mut batch = Packed::new();
            batch.push(&next, cache.len(1), 1);
            let hidden = case.policy.hidden_cached(&batch, &mut cache).unwrap();
            let last = hidden.narrow(0, batch.len() - 1, 1).unwrap();
            let scores = floats(&case.policy.logits(&last).unwrap());
            let best = (0..scores.len()).max_by(|a, b| scores[*a].total_cmp(&scores[*b])).unwrap() as u32;
            said.push(best);
            next = vec![best];
        }
        assert_eq!(&said, tokens, "{name}");
    });
}
