//! Rows keep their bits in any batch, at any place in it, on any number of threads; gradients on any number of threads.

use super::{bits, noise, on_threads, tables, values};
use crate::ops::kernels::{Vocabulary, Weight, cross_entropy};
use crate::ops::{self, KvLayerMut, KvLayout, PackedWeight};
use crate::packed::{Packed, Span};
use candle_core::{DType, Device, Tensor, Var};

const THREADS: [usize; 3] = [1, 2, 8];

fn rows(x: &Tensor, picked: &[u32]) -> Tensor {
    x.index_select(&Tensor::new(picked, &Device::Cpu).unwrap(), 0).unwrap().contiguous().unwrap()
}

/// `m` rows out of `n` in an order that is neither theirs nor repeats.
fn shuffled(m: usize, n: usize) -> Vec<u32> {
    (0..m).map(|i| ((i * 37 + m * 11) % n) as u32).collect()
}

#[test]
fn linear_rows_keep_their_bits() {
    const N: usize = 71; // prime, so that the shuffles do not repeat a row
    for (k, n) in [(576, 100), (1536, 49), (37, 33), (1, 1), (193, 576)] {
        let (x, w, bias) = (noise(&[N, k], 1), noise(&[n, k], 2), noise(&[n], 3));
        let packed = PackedWeight::new(&[&w]).unwrap();
        let whole = bits(&ops::linear(&x, &w, Some(&bias)).unwrap());
        for m in 1..=70 {
            let picked = shuffled(m, N);
            let part = rows(&x, &picked);
            let expected: Vec<u32> = picked.iter().flat_map(|&r| &whole[r as usize * n..][..n]).copied().collect();
            for threads in if m % 9 == 1 { &THREADS[..] } else { &[2] } {
                let (stored, panels) = on_threads(*threads, || {
                    let stored = ops::linear(&part, &w, Some(&bias)).unwrap();
                    (bits(&stored), bits(&ops::linear_packed(&part, &packed, Some(&bias)).unwrap()))
                });
                assert_eq!(stored, expected, "k {k}, n {n}, {m} rows, {threads} threads");
                assert_eq!(panels, expected, "packed: k {k}, n {n}, {m} rows, {threads} threads");
            }
        }
    }
}

#[test]
fn logits_of_a_wide_vocabulary_keep_their_bits() {
    let (x, w) = (noise(&[71, 576], 1), noise(&[49152, 576], 2));
    let packed = PackedWeight::new(&[&w]).unwrap();
    let whole = bits(&on_threads(2, || ops::linear_packed(&x, &packed, None).unwrap()));
    for (m, threads) in [(1, 8), (7, 1), (64, 2)] {
        let picked = shuffled(m, 71);
        let part = rows(&x, &picked);
        let found = on_threads(threads, || [ops::linear_packed(&part, &packed, None), ops::linear(&part, &w, None)]);
        for found in found.map(|y| bits(&y.unwrap())) {
            for (row, &r) in found.chunks_exact(49152).zip(&picked) {
                assert!(*row == whole[r as usize * 49152..][..49152], "{m} rows, {threads} threads");
            }
        }
    }
}

#[test]
fn weights_packed_together_give_the_columns_of_each() {
    let (x, a, b) = (noise(&[5, 40], 1), noise(&[50, 40], 2), noise(&[7, 40], 3));
    let both = PackedWeight::new(&[&a, &b]).unwrap();
    assert_eq!((both.n(), both.k()), (57, 40));
    let y = ops::linear_packed(&x, &both, None).unwrap();
    assert_eq!(bits(&y.narrow(1, 0, 50).unwrap()), bits(&ops::linear(&x, &a, None).unwrap()));
    assert_eq!(bits(&y.narrow(1, 50, 7).unwrap()), bits(&ops::linear(&x, &b, None).unwrap()));
}

/// A vocabulary of several tiles, whole and not, as stored and laid out in either type.
#[test]
fn targets_have_the_same_bits_in_a_packed_vocabulary() {
    let (n, d) = (70, 40);
    let h = values(&noise(&[n, d], 1));
    for v in [384, 385, 1000] {
        let targets: Vec<u32> = (0..n).map(|i| (i * 131 % v) as u32).collect();
        let w = noise(&[v, d], 2);
        let exact = w.to_dtype(DType::BF16).unwrap().to_dtype(DType::F32).unwrap();
        for w in [w, exact] {
            let packed = PackedWeight::new(&[&w]).unwrap();
            let stored = values(&w);
            let all = [Vocabulary::Stored(Weight::F32(&stored)), Vocabulary::Packed(&packed)]
                .map(|w| cross_entropy(&h, w, d, &targets).into_iter().map(f32::to_bits).collect::<Vec<_>>());
            assert_eq!(all[0], all[1], "{v} entries, {packed:?}");
        }
    }
}

/// Compares an op on shuffled parts of a batch with the same rows of the whole batch.
fn check_rows(name: &str, n: usize, width: usize, op: &(dyn Fn(&[u32]) -> Tensor + Sync)) {
    let all: Vec<u32> = (0..n as u32).collect();
    let whole = bits(&op(&all));
    for m in [1, 2, 3, 8, 31, 64, 70] {
        let picked = shuffled(m, n);
        for threads in THREADS {
            let found = on_threads(threads, || bits(&op(&picked)));
            for (row, &r) in found.chunks_exact(width).zip(&picked) {
                assert_eq!(row, &whole[r as usize * width..][..width], "{name}: {m} rows, {threads} threads");
            }
        }
    }
}

#[test]
fn rows_of_the_other_ops_keep_their_bits() {
    const N: usize = 127;
    let (x, other, gain) = (noise(&[N, 200], 1), noise(&[N, 200], 2), noise(&[200], 3));
    check_rows("rms_norm", N, 200, &|r| ops::rms_norm(&rows(&x, r), &gain, 1e-5).unwrap());
    check_rows("swiglu", N, 200, &|r| ops::swiglu(&rows(&x, r), &rows(&other, r)).unwrap());
    check_rows("embedding", N, 200, &|r| ops::embedding(&x, r).unwrap());
    let heads = noise(&[N, 4, 50], 4);
    let (cos, sin) = tables(N, 25, DType::F32).unwrap();
    check_rows("rope", N, 200, &|r| ops::rope(&rows(&heads, r), &cos, &sin, r).unwrap());
    let head = noise(&[1000, 200], 5);
    let targets = |r: &[u32]| r.iter().map(|i| i * 7 % 1000).collect::<Vec<_>>();
    check_rows("linear_cross_entropy", N, 1, &|r| ops::linear_cross_entropy(&rows(&x, r), &head, &targets(r)).unwrap());
}

/// Queries, keys and values of sequences end to end.
struct Attended {
    q: Tensor,
    k: Tensor,
    v: Tensor,
    packed: Packed,
}

fn attended(lengths: &[usize], h: usize, hkv: usize, dh: usize) -> Attended {
    let t = lengths.iter().sum();
    let sequences: Vec<Vec<u32>> = lengths.iter().map(|&n| vec![0; n]).collect();
    let packed = Packed::from_sequences(&sequences);
    Attended { q: noise(&[t, h, dh], 1), k: noise(&[t, hkv, dh], 2), v: noise(&[t, hkv, dh], 3), packed }
}

impl Attended {
    fn part(&self, from: usize, len: usize) -> [Tensor; 3] {
        [&self.q, &self.k, &self.v].map(|x| x.narrow(0, from, len).unwrap().contiguous().unwrap())
    }

    fn whole(&self) -> Vec<u32> {
        bits(&ops::attention(&self.q, &self.k, &self.v, &self.packed.spans, 0.2).unwrap())
    }
}

#[test]
fn attention_does_not_see_the_other_sequences() {
    let (h, dh) = (6, 40);
    let batch = attended(&[1, 150, 3, 97, 33], h, 2, dh);
    let whole = batch.whole();
    for threads in THREADS {
        assert_eq!(on_threads(threads, || batch.whole()), whole, "{threads} threads");
        for span in &batch.packed.spans {
            let [q, k, v] = batch.part(span.start, span.len);
            let alone = [Span { start: 0, ..*span }];
            let found = on_threads(threads, || bits(&ops::attention(&q, &k, &v, &alone, 0.2).unwrap()));
            assert_eq!(found, whole[span.start * h * dh..][..found.len()], "{span:?}, {threads} threads");
        }
    }
}

/// Feeds every sequence to a cache in pieces of at most `chunk` tokens, several sequences per call, and returns the rows
/// in the order of `Attended::whole`.
fn in_chunks(batch: &Attended, hkv: usize, chunk: usize, n_slots: usize) -> Vec<u32> {
    let (h, dh) = (batch.q.dims()[1], batch.q.dims()[2]);
    let layout = KvLayout::new(n_slots, hkv, dh, 151);
    // Whatever an unused position holds must not matter.
    let (mut keys, mut values) = (vec![f32::MAX; layout.n_values()], vec![f32::MAX; layout.n_values()]);
    let mut out = vec![0; batch.q.elem_count()];
    let longest = batch.packed.spans.iter().map(|s| s.len).max().unwrap();
    for past in (0..longest).step_by(chunk) {
        let mut call = Packed::new();
        let mut sources = Vec::new();
        for span in batch.packed.spans.iter().filter(|s| s.len > past) {
            let len = chunk.min(span.len - past);
            call.push(&vec![0; len], past, n_slots - 1 - span.slot);
            sources.extend(span.start + past..span.start + past + len);
        }
        let picked: Vec<u32> = sources.iter().map(|&r| r as u32).collect();
        let [q, k, v] = [&batch.q, &batch.k, &batch.v].map(|x| rows(x, &picked));
        let mut cache = KvLayerMut::new(layout, &mut keys, &mut values).unwrap();
        let y = bits(&ops::attention_cached(&q, &k, &v, &mut cache, &call.spans, 0.2).unwrap());
        for (row, source) in y.chunks_exact(h * dh).zip(sources) {
            out[source * h * dh..][..h * dh].copy_from_slice(row);
        }
    }
    out
}

#[test]
fn cached_attention_has_the_bits_of_whole_sequences_however_it_is_fed() {
    for (h, hkv, dh) in [(9, 3, 64), (4, 4, 10), (7, 1, 33)] {
        let batch = attended(&[1, 150, 3, 97, 33], h, hkv, dh);
        let whole = batch.whole();
        for chunk in [1, 5, 48, 64, 150] {
            for threads in THREADS {
                let found = on_threads(threads, || in_chunks(&batch, hkv, chunk, 6));
                assert!(found == whole, "{h} heads, chunks of {chunk}, {threads} threads");
            }
        }
    }
}

#[test]
fn a_forked_prefix_continues_like_the_original() {
    let (hkv, dh) = (2, 16);
    let batch = attended(&[70], 4, hkv, dh);
    let layout = KvLayout::new(3, hkv, dh, 70);
    let (mut keys, mut values) = (vec![f32::NAN; layout.n_values()], vec![f32::NAN; layout.n_values()]);
    let mut cache = KvLayerMut::new(layout, &mut keys, &mut values).unwrap();
    let feed = |cache: &mut KvLayerMut, from: usize, len: usize, slot: usize| {
        let [q, k, v] = batch.part(from, len);
        let span = Span { start: 0, len, past: from, slot };
        bits(&ops::attention_cached(&q, &k, &v, cache, &[span], 0.2).unwrap())
    };
    feed(&mut cache, 0, 51, 1);
    for (from, to) in [(1, 0), (1, 2), (1, 1)] {
        cache.copy_prefix(from, to, 51);
    }
    let expected = &batch.whole()[51 * 4 * dh..];
    for slot in 0..3 {
        assert_eq!(feed(&mut cache, 51, 19, slot), expected, "slot {slot}");
    }
}

#[test]
fn gradients_do_not_depend_on_the_number_of_threads() {
    let (t, d, v) = (300, 64, 500);
    let spans = Packed::from_sequences(&[vec![0; 200], vec![0; 100]]).spans;
    let (cos, sin) = tables(t, 8, DType::F32).unwrap();
    let positions: Vec<u32> = (0..t as u32).collect();
    let ids: Vec<u32> = (0..t as u32).map(|i| i * 13 % v as u32).collect();
    let shapes: [&[usize]; 7] = [&[v, d], &[d], &[d, d], &[d], &[32, d], &[32, d], &[d, d]];
    let vars: Vec<Var> = shapes.iter().zip(1..).map(|(s, seed)| Var::from_tensor(&noise(s, seed)).unwrap()).collect();
    let run = || {
        let x = ops::embedding(&vars[0], &ids).unwrap();
        let normed = ops::rms_norm(&x, &vars[1], 1e-6).unwrap();
        let heads = |w: &Tensor, bias, n: usize| ops::linear(&normed, w, bias).unwrap().reshape((t, n, 16)).unwrap();
        let q = ops::rope(&heads(&vars[2], Some(vars[3].as_tensor()), 4), &cos, &sin, &positions).unwrap();
        let k = ops::rope(&heads(&vars[4], None, 2), &cos, &sin, &positions).unwrap();
        let y = ops::attention(&q, &k, &heads(&vars[5], None, 2), &spans, 0.25).unwrap().reshape((t, d)).unwrap();
        let x = (x + ops::swiglu(&y, &ops::linear(&y, &vars[6], None).unwrap()).unwrap()).unwrap();
        let grads = ops::linear_cross_entropy(&x, &vars[0], &ids).unwrap().sum_all().unwrap().backward().unwrap();
        vars.iter().map(|var| bits(grads.get(var).expect("a gradient"))).collect::<Vec<_>>()
    };
    let expected = on_threads(1, run);
    for (nth, grad) in expected.iter().enumerate() {
        let finite = grad.iter().all(|g| f32::from_bits(*g).is_finite());
        assert!(finite && grad.iter().any(|g| *g << 1 != 0), "parameter {nth}");
    }
    for threads in [2, 8] {
        assert!(on_threads(threads, run) == expected, "{threads} threads");
    }
}

#[test]
fn log_probabilities_are_the_log_softmax_of_the_logits() {
    let (h, w) = (noise(&[9, 30], 1), noise(&[800, 30], 2));
    let targets: Vec<u32> = (0..9).map(|i| i * 88).collect();
    let logits = values(&ops::linear(&h, &w, None).unwrap());
    let found = values(&ops::linear_cross_entropy(&h, &w, &targets).unwrap());
    for ((z, &target), found) in logits.chunks_exact(800).zip(&targets).zip(found) {
        let log_sum = z.iter().map(|&z| f64::from(z).exp()).sum::<f64>().ln();
        let expected = f64::from(z[target as usize]) - log_sum;
        assert!((f64::from(found) - expected).abs() < 1e-6 * expected.abs().max(1.0), "{found}, expected {expected}");
    }
}
