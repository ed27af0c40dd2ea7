//! Values and gradients of every kernel: against the twin in f64, and the twin's gradient against finite differences.

use super::{noise, tables, values};
use crate::ops::{self, plain};
use crate::packed::{Packed, Span};
use candle_core::{DType, Result, Tensor, Var};

type Op<'a> = &'a dyn Fn(&[Tensor]) -> Result<Tensor>;

/// Weighted sum of an op's result, so that every element has its own upstream gradient.
fn loss(op: Op, inputs: &[Tensor], weights: &Tensor) -> Tensor {
    let y = op(inputs).unwrap();
    let weights = weights.to_dtype(y.dtype()).unwrap().reshape(y.shape()).unwrap();
    (y * weights).unwrap().sum_all().unwrap()
}

fn gradients(op: Op, inputs: &[Tensor], weights: &Tensor) -> Vec<Vec<f32>> {
    let vars: Vec<Var> = inputs.iter().map(|x| Var::from_tensor(x).unwrap()).collect();
    let tensors: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
    let store = loss(op, &tensors, weights).backward().unwrap();
    vars.iter().map(|v| values(store.get(v).expect("every input has a gradient"))).collect()
}

fn assert_close(what: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let size = expected.iter().fold(1e-3f32, |top, x| top.max(x.abs()));
    for (i, (x, y)) in found.iter().zip(expected).enumerate() {
        assert!(x.is_finite() && (x - y).abs() <= 1e-5 * size, "{what}[{i}]: {x}, expected {y} (largest {size})");
    }
}

/// The funnel: values, gradients, and some partial derivatives by central differences in f64.
fn check(name: &str, kernel: Op, twin: Op, shapes: &[&[usize]]) {
    let inputs: Vec<Tensor> = shapes.iter().zip(1..).map(|(shape, seed)| noise(shape, seed)).collect();
    let wide: Vec<Tensor> = inputs.iter().map(|x| x.to_dtype(DType::F64).unwrap()).collect();
    let (y, expected) = (kernel(&inputs).unwrap(), twin(&wide).unwrap());
    assert_eq!(y.dims(), expected.dims(), "{name}");
    assert_close(name, &values(&y), &values(&expected));
    assert_close(&format!("{name} in f32"), &values(&twin(&inputs).unwrap()), &values(&expected));

    let weights = noise(y.dims(), 99);
    let found = gradients(kernel, &inputs, &weights);
    let exact = gradients(twin, &wide, &weights);
    for (nth, (found, exact)) in found.iter().zip(&exact).enumerate() {
        assert_close(&format!("{name}: gradient of input {nth}"), found, exact);
        assert!(exact.iter().any(|g| *g != 0.0), "{name}: input {nth} has no influence");
        for at in [0, exact.len() / 2, exact.len() - 1] {
            let slope = central_difference(twin, &wide, &weights, nth, at);
            let size = exact.iter().fold(1e-3f64, |top, g| top.max(f64::from(g.abs())));
            let error = (f64::from(found[at]) - slope).abs();
            assert!(error <= 2e-5 * size, "{name}: input {nth}[{at}]: {} but slope {slope}", found[at]);
        }
    }
}

fn central_difference(op: Op, inputs: &[Tensor], weights: &Tensor, nth: usize, at: usize) -> f64 {
    const STEP: f64 = 1e-5;
    let moved = |by: f64| {
        let mut inputs = inputs.to_vec();
        let mut x: Vec<f64> = inputs[nth].flatten_all().unwrap().to_vec1().unwrap();
        x[at] += by;
        inputs[nth] = Tensor::from_vec(x, inputs[nth].shape(), inputs[nth].device()).unwrap();
        loss(op, &inputs, weights).to_scalar::<f64>().unwrap()
    };
    (moved(STEP) - moved(-STEP)) / (2.0 * STEP)
}

fn spans(lengths: &[usize]) -> Vec<Span> {
    let sequences: Vec<Vec<u32>> = lengths.iter().map(|&n| vec![0; n]).collect();
    Packed::from_sequences(&sequences).spans
}

#[test]
fn linear() {
    for (t, k, n) in [(1, 1, 1), (1, 64, 50), (3, 17, 49), (70, 96, 48), (130, 200, 97)] {
        let twin: Op = &|x| plain::linear(&x[0], &x[1], x.get(2));
        let kernel: Op = &|x| ops::linear(&x[0], &x[1], x.get(2));
        check("linear", kernel, twin, &[&[t, k], &[n, k]]);
        check("linear with bias", kernel, twin, &[&[t, k], &[n, k], &[n]]);
    }
}

#[test]
fn rms_norm() {
    let shapes: [&[usize]; 5] = [&[1, 2], &[1, 64], &[5, 100], &[300, 33], &[7, 3, 64]];
    for shape in shapes {
        let kernel: Op = &|x| ops::rms_norm(&x[0], &x[1], 1e-6);
        check("rms_norm", kernel, &|x| plain::rms_norm(&x[0], &x[1], 1e-6), &[shape, &[shape[shape.len() - 1]]]);
    }
}

#[test]
fn rope() {
    for (t, h, dh) in [(1, 1, 2), (5, 3, 64), (400, 2, 32)] {
        let positions: Vec<u32> = (0..t as u32).map(|i| (i * 7) % 50).collect();
        let with_tables = |x: &Tensor, op: &dyn Fn(&Tensor, &Tensor, &Tensor) -> Result<Tensor>| {
            let (cos, sin) = tables(50, dh / 2, x.dtype())?;
            op(x, &cos, &sin)
        };
        check(
            "rope",
            &|x| with_tables(&x[0], &|x, cos, sin| ops::rope(x, cos, sin, &positions)),
            &|x| with_tables(&x[0], &|x, cos, sin| plain::rope(x, cos, sin, &positions)),
            &[&[t, h, dh]],
        );
    }
}

#[test]
fn swiglu() {
    for shape in [[1, 1], [3, 100], [50, 700]] {
        check("swiglu", &|x| ops::swiglu(&x[0], &x[1]), &|x| plain::swiglu(&x[0], &x[1]), &[&shape, &shape]);
    }
}

#[test]
fn swiglu_saturates_without_nan() {
    let gate = Tensor::new(&[[-1e4f32, -90.0, 0.0, 90.0, 1e4]], &candle_core::Device::Cpu).unwrap();
    let (gate, up) = (Var::from_tensor(&gate).unwrap(), Var::from_tensor(&gate.ones_like().unwrap()).unwrap());
    let y = ops::swiglu(&gate, &up).unwrap();
    assert_eq!(values(&y), [0.0, 0.0, 0.0, 90.0, 1e4]);
    let grads = y.sum_all().unwrap().backward().unwrap();
    assert_eq!(values(grads.get(&gate).unwrap()), [0.0, 0.0, 0.5, 1.0, 1.0]);
}

#[test]
fn embedding() {
    let ids = [3, 0, 3, 10, 3, 0];
    check("embedding", &|x| ops::embedding(&x[0], &ids), &|x| plain::embedding(&x[0], &ids), &[&[11, 5]]);
}

#[test]
fn attention() {
    for (lengths, h, hkv, dh) in [
        (vec![1], 1, 1, 2),
        (vec![5], 2, 1, 16),
        (vec![1, 40, 7], 9, 3, 64),
        (vec![100, 3], 4, 4, 32),
        (vec![110], 14, 2, 10),
    ] {
        let spans = spans(&lengths);
        let t: usize = lengths.iter().sum();
        // A softmax over one key has no slope, so that a lone token says nothing about q and k.
        let skip_qk = t == 1;
        let kernel: Op = &|x| match x {
            [v] => ops::attention(&noise(&[t, h, dh], 7), &noise(&[t, hkv, dh], 8), v, &spans, 0.3),
            x => ops::attention(&x[0], &x[1], &x[2], &spans, 0.3),
        };
        let twin: Op = &|x| match x {
            [v] => {
                let wide = |heads, seed| noise(&[t, heads, dh], seed).to_dtype(v.dtype()).unwrap();
                plain::attention(&wide(h, 7), &wide(hkv, 8), v, &spans, 0.3)
            }
            x => plain::attention(&x[0], &x[1], &x[2], &spans, 0.3),
        };
        let kv: &[usize] = &[t, hkv, dh];
        let all: &[&[usize]] = &[&[t, h, dh], kv, kv];
        check("attention", kernel, twin, if skip_qk { &all[2..] } else { all });
    }
}

#[test]
fn linear_cross_entropy() {
    for (n, v, d) in [(1, 2, 3), (3, 100, 16), (20, 1000, 40), (600, 50, 8), (1030, 401, 4)] {
        let targets: Vec<u32> = (0..n as u32).map(|i| i * 31 % v as u32).collect();
        check(
            "linear_cross_entropy",
            &|x| ops::linear_cross_entropy(&x[0], &x[1], &targets),
            &|x| plain::linear_cross_entropy(&x[0], &x[1], &targets),
            &[&[n, d], &[v, d]],
        );
    }
}

#[test]
fn divergence() {
    for (n, v, scale) in [(1, 2, 1.0), (3, 100, 1.0), (5, 1001, 20.0), (2, 16, 200.0)] {
        let z = (noise(&[n, v], 1) * scale).unwrap();
        let z_ref = (noise(&[n, v], 2) * scale).unwrap();
        let (kl, dz) = plain::divergence_gradients(&z, &z_ref, 0.7).unwrap();
        let mut found = values(&z);
        let found_kl = ops::replace_by_divergence_gradients(&mut found, &z_ref, 0.7).unwrap();
        for (found, kl) in found_kl.iter().zip(kl.to_vec1::<f64>().unwrap()) {
            assert!((found - kl).abs() <= 2e-7 * kl.abs().max(1.0), "{n} {v} {scale}: {found} {kl}");
        }
        for (found, dz) in found.iter().zip(dz.flatten_all().unwrap().to_vec1::<f64>().unwrap()) {
            assert!((f64::from(*found) - dz).abs() <= 3e-7, "{n} {v} {scale}: {found} {dz}");
        }
        let mut same = values(&z);
        assert!(ops::replace_by_divergence_gradients(&mut same, &z, 1.0).unwrap().iter().all(|kl| *kl == 0.0));
        assert!(same.iter().all(|dz| *dz == 0.0));
    }
}

#[test]
fn rows_without_upstream_gradient_change_nothing() {
    let (h, w) = (noise(&[30, 8], 1), noise(&[70, 8], 2));
    let targets: Vec<u32> = (0..30).collect();
    let weights: Vec<f32> = (0..30).map(|n| if n % 3 == 0 { n as f32 } else { 0.0 }).collect();
    let weights = Tensor::new(weights, h.device()).unwrap();
    let found = gradients(&|x| ops::linear_cross_entropy(&x[0], &x[1], &targets), &[h.clone(), w.clone()], &weights);
    let twin = gradients(&|x| plain::linear_cross_entropy(&x[0], &x[1], &targets), &[h, w], &weights);
    assert_close("dh", &found[0], &twin[0]);
    assert_close("dw", &found[1], &twin[1]);
    assert!(found[0][8..24].iter().all(|g| *g == 0.0));
}

#[test]
fn frozen_weights_get_no_gradient_and_inputs_still_do() {
    let (h, w) = (Var::from_tensor(&noise(&[5, 8], 1)).unwrap(), noise(&[70, 8], 2));
    let y = ops::linear(h.as_tensor(), &noise(&[8, 8], 3), None).unwrap();
    let y = ops::rms_norm(&y, &noise(&[8], 4), 1e-6).unwrap();
    let y = ops::linear_cross_entropy(&y, &w, &[1, 2, 3, 4, 5]).unwrap();
    let grads = y.sum_all().unwrap().backward().unwrap();
    assert!(values(grads.get(&h).unwrap()).iter().any(|g| *g != 0.0));
    assert!(grads.get(&w).is_none());
}
