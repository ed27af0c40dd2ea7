//! Every parameter of every family gets a gradient, and the right one.

use candle_core::{Device, Tensor};
use rasft_model::{Decoder, KvCache, LoadOptions, Packed};

use crate::support::{FAMILIES, floats, tiny_decoder, tokens};

/// Mean negative log-likelihood of two sequences.
fn loss(decoder: &Decoder) -> Tensor {
    let vocab = decoder.config().vocab_size;
    let sequences = [tokens(11, vocab, 1), tokens(6, vocab, 2)];
    let batch = Packed::from_sequences(&sequences);
    let rows: Vec<u32> = batch.spans.iter().flat_map(|s| (s.start..s.start + s.len - 1).map(|r| r as u32)).collect();
    let targets: Vec<u32> = sequences.iter().flat_map(|ids| ids[1..].to_vec()).collect();
    let hidden = decoder.hidden(&batch).unwrap().index_select(&Tensor::new(rows, &Device::Cpu).unwrap(), 0).unwrap();
    decoder.token_logprobs(&hidden, &targets).unwrap().mean_all().unwrap().neg().unwrap()
}

#[test]
fn every_parameter_gets_a_finite_nonzero_gradient() {
    for family in FAMILIES {
        let decoder = tiny_decoder(family, &LoadOptions::trainable());
        let grads = loss(&decoder).backward().unwrap();
        for (name, var) in decoder.parameters() {
            let grad = floats(grads.get(var).unwrap_or_else(|| panic!("{family}: {name} has no gradient")));
            assert!(grad.iter().all(|g| g.is_finite()), "{family}: {name}");
            assert!(grad.iter().any(|g| *g != 0.0), "{family}: {name} is all zero");
        }
    }
}

/// The directional derivative along the gradient's sign, by central differences, for each parameter tensor.
#[test]
fn gradients_agree_with_finite_differences() {
    const STEP: f32 = 2e-3;
    for family in FAMILIES {
        let decoder = tiny_decoder(family, &LoadOptions::trainable());
        let grads = loss(&decoder).backward().unwrap();
        let value = || f64::from(loss(&decoder).to_scalar::<f32>().unwrap());
        for (name, var) in decoder.parameters() {
            let grad = floats(grads.get(var).unwrap());
            let norm = grad.iter().map(|g| g * g).sum::<f32>().sqrt();
            let before = floats(var.as_tensor());
            let shifted = |by: f32| {
                let moved: Vec<f32> = before.iter().zip(&grad).map(|(x, g)| x + by * g / norm).collect();
                var.set(&Tensor::from_vec(moved, var.shape(), &Device::Cpu).unwrap()).unwrap();
                value()
            };
            let slope = (shifted(STEP) - shifted(-STEP)) / (2.0 * f64::from(STEP));
            shifted(0.0);
            let norm = f64::from(norm);
            assert!((slope - norm).abs() <= 0.02 * norm + 1e-3, "{family} {name}: slope {slope}, norm {norm}");
        }
    }
}

#[test]
fn an_untrainable_decoder_records_nothing() {
    let decoder = tiny_decoder("qwen3", &LoadOptions::default());
    assert!(!loss(&decoder).track_op());
    let trainable = tiny_decoder("qwen3", &LoadOptions::trainable());
    assert!(loss(&trainable).track_op());
    // The cached way never records, so rollouts of a policy in training cost no graph.
    let mut cache = KvCache::new(trainable.config(), 1, 4).unwrap();
    let batch = Packed::from_sequences(&[[1, 2, 3]]);
    assert!(!trainable.hidden_cached(&batch, &mut cache).unwrap().track_op());
}

#[test]
fn values_set_in_place_are_seen() {
    let decoder = tiny_decoder("llama", &LoadOptions::trainable());
    let batch = Packed::from_sequences(&[vec![1, 2, 3]]);
    let before = floats(&decoder.hidden(&batch).unwrap());
    let (_, norm) = decoder.parameters().iter().find(|(n, _)| n == "model.norm.weight").unwrap();
    norm.set(&(norm.as_tensor() * 2.0).unwrap()).unwrap();
    let after = floats(&decoder.hidden(&batch).unwrap());
    let mut cache = KvCache::new(decoder.config(), 1, 4).unwrap();
    assert_eq!(after, floats(&decoder.hidden_cached(&batch, &mut cache).unwrap()));
    assert!(before.iter().zip(&after).all(|(a, b)| 2.0 * a == *b));
}
