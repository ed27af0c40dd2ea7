//! Calls that do not fit are refused with a message that names the op, the argument, what was expected and what came.

use super::noise;
use crate::ops::{self, KvLayerMut, KvLayout};
use crate::packed::Span;
use candle_core::{Result, Tensor};

fn message(result: Result<Tensor>) -> String {
    result.expect_err("the call is wrong").to_string()
}

fn check(result: Result<Tensor>, parts: &[&str]) {
    let message = message(result);
    for part in parts {
        assert!(message.contains(part), "{message:?} does not say {part:?}");
    }
}

#[test]
fn shapes_and_ids_that_do_not_fit() {
    let x = noise(&[2, 3], 1);
    check(ops::linear(&x, &noise(&[4, 5], 2), None), &["linear", "w", "(N, 3)", "[4, 5]"]);
    check(ops::linear(&x, &noise(&[4, 3], 2), Some(&noise(&[3], 3))), &["bias", "(4)", "(3)"]);
    check(ops::linear(&noise(&[2], 1), &noise(&[4, 3], 2), None), &["x", "2 dimensions", "[2]"]);
    check(ops::rms_norm(&x, &noise(&[2], 2), 1e-6), &["rms_norm", "(…, 2)", "[2, 3]"]);
    check(ops::swiglu(&x, &noise(&[3, 2], 2)), &["swiglu", "[2, 3]", "[3, 2]"]);
    check(ops::embedding(&x, &[0, 2]), &["embedding", "below 2", "2"]);
    check(ops::linear_cross_entropy(&x, &noise(&[4, 3], 2), &[0, 4]), &["targets", "below 4"]);
    let kl = ops::replace_by_divergence_gradients(&mut [0.0; 5], &x, 1.0);
    check(kl.map(|_| x.clone()), &["reference", "5 logits"]);
    check(ops::linear_cross_entropy(&x, &noise(&[4, 3], 2), &[0]), &["targets", "2", "1"]);
    let table = noise(&[5, 2], 3);
    check(ops::rope(&noise(&[2, 1, 4], 1), &table, &table, &[0, 5]), &["rope", "positions", "below 5"]);
    check(ops::rope(&noise(&[2, 1, 6], 1), &table, &table, &[0, 1]), &["rope", "cos", "(P, 3)"]);
}

#[test]
fn strided_views() {
    let view = noise(&[3, 2], 1).t().unwrap();
    check(ops::linear(&view, &noise(&[4, 3], 2), None), &["linear", "contiguous", "hint"]);
    check(ops::swiglu(&view, &view), &["swiglu", "contiguous"]);
}

#[test]
fn spans_that_do_not_tile_the_rows() {
    let (q, k) = (noise(&[4, 4, 8], 1), noise(&[4, 2, 8], 2));
    let span = |start, len, past, slot| Span { start, len, past, slot };
    check(ops::attention(&q, &k, &k, &[span(0, 3, 0, 0)], 1.0), &["attention", "4 rows", "3 rows"]);
    check(ops::attention(&q, &k, &k, &[span(1, 3, 0, 0)], 1.0), &["from row 0"]);
    check(ops::attention(&q, &k, &k, &[span(0, 4, 2, 0)], 1.0), &["past 0"]);
    check(ops::attention(&q, &noise(&[4, 3, 8], 2), &k, &[span(0, 4, 0, 0)], 1.0), &["k", "a divisor of 4"]);

    let layout = KvLayout::new(2, 2, 8, 10);
    let (mut keys, mut values) = (vec![0.0; layout.n_values()], vec![0.0; layout.n_values()]);
    let mut cached = |spans: &[Span]| {
        let mut cache = KvLayerMut::new(layout, &mut keys, &mut values)?;
        ops::attention_cached(&q, &k, &k, &mut cache, spans, 1.0)
    };
    check(cached(&[span(0, 4, 0, 2)]), &["attention_cached", "2 slots"]);
    check(cached(&[span(0, 4, layout.capacity() - 3, 0)]), &["16 positions"]);
    check(cached(&[span(0, 2, 0, 1), span(2, 2, 2, 1)]), &["slot 1 twice"]);
}
