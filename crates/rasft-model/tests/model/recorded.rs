//! The written-out passes of training against candle's graph, against finite differences, and against themselves.

use candle_core::{Device, Tensor};
use rasft_model::{Activations, Decoder, Dropout, LoadOptions, Packed, Pool, Predictions, Recording, Sums};
use std::ops::Range;

use crate::support::{FAMILIES, floats, max_diff, tiny_decoder, tokens};

/// That of an adapter which has one, and the places of the sequences.
const DROPOUT: (Dropout, [u64; 6]) = (Dropout { seed: 3, step: 5 }, [4, 5, 9, 10, 12, 13]);

/// Sequences of which most tokens are predicted, and a loss `Σ_n c_n·log p_n + Σ e·logits`.
pub struct Case {
    pub batch: Packed,
    predictions: Predictions,
    dlogprobs: Vec<f32>,
    dlogits: Vec<f32>,
}

impl Case {
    pub fn both(decoder: &Decoder) -> [Self; 2] {
        [Self::apart(decoder), Self::alike(decoder)]
    }

    /// Sequences that have nothing in common.
    fn apart(decoder: &Decoder) -> Self {
        let vocab = decoder.config().vocab_size;
        Self::of(&[tokens(153, vocab, 1), tokens(1, vocab, 2), tokens(34, vocab, 3)], vocab)
    }

    /// Sequences of which some begin alike, equal ones and the beginning of another among them.
    pub fn alike(decoder: &Decoder) -> Self {
        let vocab = decoder.config().vocab_size;
        let first = tokens(153, vocab, 1);
        let like_first = |n, more| [&first[..n], &tokens(more, vocab, 4)].concat();
        let (other, twice) = (tokens(34, vocab, 3), like_first(70, 15));
        Self::of(&[first.clone(), other, like_first(107, 16), twice.clone(), like_first(60, 0), twice], vocab)
    }

    fn of(sequences: &[Vec<u32>], vocab: usize) -> Self {
        let batch = Packed::from_sequences(sequences);
        // The last token of a sequence predicts nothing.
        let rows: Vec<u32> =
            batch.spans.iter().flat_map(|s| s.start as u32 + 5..(s.start + s.len) as u32 - 1).collect();
        let targets: Vec<u32> = rows.iter().map(|row| batch.ids[*row as usize + 1]).collect();
        let wave = |n: usize, by: f32| (0..n).map(|i| (i as f32 * by).sin() / 50.0).collect::<Vec<f32>>();
        let (dlogprobs, dlogits) = (wave(rows.len(), 0.9), wave(rows.len() * vocab, 0.37));
        Self { batch, predictions: Predictions { rows, targets }, dlogprobs, dlogits }
    }

    fn record(&self, decoder: &Decoder, activations: Activations, pool: &mut Pool) -> Recording {
        let (dropout, rows) = DROPOUT;
        let predictions = self.predictions.clone();
        let rows = &rows[..self.batch.spans.len()];
        decoder.record(&self.batch, predictions, activations, Some((dropout, rows)), pool).unwrap()
    }

    /// Adds the gradients to `into`.
    fn backward(&self, decoder: &Decoder, recording: Recording, into: (&mut [Vec<f32>], Sums), pool: &mut Pool) {
        let vocab = decoder.config().vocab_size;
        let mut of_logits = |rows: Range<usize>, logits: &mut [f32]| {
            logits.copy_from_slice(&self.dlogits[rows.start * vocab..rows.end * vocab]);
            Ok(())
        };
        decoder.backward(recording, &self.dlogprobs, Some(&mut of_logits), into, pool).unwrap();
    }

    /// Log-probabilities and gradients by the written-out passes.
    pub fn recorded(&self, decoder: &Decoder, activations: Activations) -> (Vec<f32>, Vec<Vec<f32>>) {
        let mut pool = Pool::default();
        // Twice, so that the second run meets used buffers; each on sums that hold something already.
        let mut sums: Vec<Vec<f32>> =
            decoder.parameters().iter().map(|(_, var)| vec![f32::NAN; var.elem_count()]).collect();
        let mut logprobs = Vec::new();
        for _ in 0..2 {
            let recording = self.record(decoder, activations, &mut pool);
            logprobs = recording.logprobs().to_vec();
            let into = (sums.as_mut_slice(), Sums::Begin);
            self.backward(decoder, recording, into, &mut pool);
        }
        (logprobs, sums)
    }

    /// The same by candle's graph.
    pub fn graph(&self, decoder: &Decoder) -> (Vec<f32>, Vec<Vec<f32>>) {
        let rows = Tensor::new(self.predictions.rows.as_slice(), &Device::Cpu).unwrap();
        let (dropout, places) = DROPOUT;
        let hidden = decoder.hidden_with_dropout(&self.batch, dropout, &places[..self.batch.spans.len()]).unwrap();
        let hidden = hidden.index_select(&rows, 0).unwrap();
        let logprobs = decoder.token_logprobs(&hidden, &self.predictions.targets).unwrap();
        let weighted = |x: &Tensor, by: &[f32]| {
            (x.flatten_all().unwrap() * Tensor::new(by, &Device::Cpu).unwrap()).unwrap().sum_all().unwrap()
        };
        let logits = decoder.logits(&hidden).unwrap();
        let loss = (weighted(&logprobs, &self.dlogprobs) + weighted(&logits, &self.dlogits)).unwrap();
        let grads = loss.backward().unwrap();
        (floats(&logprobs), decoder.parameters().iter().map(|(_, var)| floats(grads.get(var).unwrap())).collect())
    }

    /// The loss, in f64.
    fn value(&self, decoder: &Decoder) -> f64 {
        let recording = self.record(decoder, Activations::Kept, &mut Pool::default());
        let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
        let (n, d) = (recording.logprobs().len(), decoder.config().hidden_size);
        let hidden = Tensor::from_slice(recording.hidden(), (n, d), &Device::Cpu).unwrap();
        let logits = floats(&decoder.logits(&hidden).unwrap());
        dot(recording.logprobs(), &self.dlogprobs) + dot(&logits, &self.dlogits)
    }
}

pub fn bits(values: &[Vec<f32>]) -> Vec<Vec<u32>> {
    values.iter().map(|v| v.iter().map(|x| x.to_bits()).collect()).collect()
}

pub fn on_threads<T: Send>(n: usize, f: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap().install(f)
}

fn full(family: &str) -> Decoder {
    tiny_decoder(family, &LoadOptions::trainable())
}

#[test]
fn logprobs_have_the_bits_of_the_graph_and_gradients_agree_with_it() {
    FAMILIES.iter().for_each(|family| agrees_with_the_graph(family, &full(family)));
}

pub fn agrees_with_the_graph(what: &str, decoder: &Decoder) {
    for case in Case::both(decoder) {
        let ((logprobs, sums), (expected, grads)) = (case.recorded(decoder, Activations::Kept), case.graph(decoder));
        assert_eq!(bits(&[logprobs]), bits(&[expected]), "{what}");
        for ((name, _), (sum, grad)) in decoder.parameters().iter().zip(sums.iter().zip(&grads)) {
            let scale = grad.iter().fold(0f32, |top, g| top.max(g.abs()));
            let off = max_diff(sum, grad) / scale;
            assert!(scale > 0.0 && off <= 1e-5, "{what} {name}: {off}");
        }
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    FAMILIES.iter().for_each(|family| agrees_with_differences(family, &full(family)));
}

pub fn agrees_with_differences(what: &str, decoder: &Decoder) {
    const STEP: f32 = 2e-3;
    for case in Case::both(decoder) {
        let (_, sums) = case.recorded(decoder, Activations::Recomputed);
        for ((name, var), grad) in decoder.parameters().iter().zip(&sums) {
            let norm = grad.iter().map(|g| g * g).sum::<f32>().sqrt();
            let before = floats(var.as_tensor());
            let shifted = |by: f32| {
                let moved: Vec<f32> = before.iter().zip(grad).map(|(x, g)| x + by * g / norm).collect();
                var.set(&Tensor::from_vec(moved, var.shape(), &Device::Cpu).unwrap()).unwrap();
                case.value(decoder)
            };
            let slope = (shifted(STEP) - shifted(-STEP)) / (2.0 * f64::from(STEP));
            shifted(0.0);
            let norm = f64::from(norm);
            assert!((slope - norm).abs() <= 0.02 * norm + 1e-3, "{what} {name}: slope {slope}, norm {norm}");
        }
    }
}

#[test]
fn neither_recomputed_activations_nor_threads_change_a_bit() {
    FAMILIES.iter().for_each(|family| repeats_to_the_bit(family, &full(family)));
}

pub fn repeats_to_the_bit(what: &str, decoder: &Decoder) {
    for case in Case::both(decoder) {
        let (logprobs, sums) = on_threads(1, || case.recorded(decoder, Activations::Kept));
        for threads in [1, 2, 3] {
            for activations in [Activations::Kept, Activations::Recomputed] {
                let (again, others) = on_threads(threads, || case.recorded(decoder, activations));
                let what = format!("{what}, {threads} threads, {activations:?}");
                assert_eq!(bits(&[again]), bits(std::slice::from_ref(&logprobs)), "{what}");
                assert!(bits(&others) == bits(&sums), "{what}");
            }
        }
    }
}

#[test]
fn sums_go_on_where_they_are_told_to() {
    FAMILIES.iter().for_each(|family| adds_up(family, &full(family)));
}

pub fn adds_up(what: &str, decoder: &Decoder) {
    for case in Case::both(decoder) {
        let (_, once) = case.recorded(decoder, Activations::Kept);
        let mut twice: Vec<Vec<f32>> = once.iter().map(|sum| vec![0.0; sum.len()]).collect();
        let mut pool = Pool::default();
        for _ in 0..2 {
            let recording = case.record(decoder, Activations::Kept, &mut pool);
            let into = (twice.as_mut_slice(), Sums::Continue);
            case.backward(decoder, recording, into, &mut pool);
        }
        for ((name, _), (sum, grad)) in decoder.parameters().iter().zip(twice.iter().zip(&once)) {
            let scale = grad.iter().fold(0f32, |top, g| top.max(g.abs()));
            let doubled: Vec<f32> = grad.iter().map(|g| 2.0 * g).collect();
            assert!(max_diff(sum, &doubled) <= 1e-5 * scale, "{what} {name}");
        }
    }
}

#[test]
fn what_sequences_begin_with_is_computed_once() {
    let decoder = full("llama");
    let n_rows = |case: &Case| case.record(&decoder, Activations::Kept, &mut Pool::default()).n_rows();
    let [apart, alike] = Case::both(&decoder);
    assert_eq!(n_rows(&apart), apart.batch.len());
    // The first and the other, and what two sequences have behind beginnings of the first; two more need nothing.
    assert_eq!(n_rows(&alike), 153 + 34 + 16 + 15);
}

#[test]
fn rows_without_a_gradient_leave_zeros() {
    let decoder = tiny_decoder("llama", &LoadOptions::trainable());
    let mut case = Case::alike(&decoder);
    case.dlogprobs.fill(0.0);
    case.dlogits.fill(0.0);
    let (_, sums) = case.recorded(&decoder, Activations::Kept);
    assert!(sums.iter().flatten().all(|g| *g == 0.0));
}

#[test]
fn requests_that_do_not_fit_are_refused() {
    let decoder = tiny_decoder("llama", &LoadOptions::trainable());
    let case = Case::apart(&decoder);
    let record = |decoder: &Decoder, change: fn(&mut Case)| {
        let mut case = Case::apart(decoder);
        change(&mut case);
        let message = decoder.record(&case.batch, case.predictions, Activations::Kept, None, &mut Pool::default());
        message.unwrap_err().to_string()
    };
    assert!(record(&decoder, |c| c.predictions.rows[3] = 188).contains("row 188 predicts, the batch has 188"));
    assert!(record(&decoder, |c| c.predictions.targets[3] = 97).contains("target 97"));
    assert!(record(&decoder, |c| c.predictions.targets.truncate(174)).contains("175 rows predict 174 targets"));
    assert!(record(&decoder, |c| c.batch.spans[1].past = 1).contains("1 cached tokens"));
    let frozen = tiny_decoder("llama", &LoadOptions::default());
    assert!(!frozen.can_record());
    assert!(record(&frozen, |_| ()).contains("all weights trainable"));
    let mut pool = Pool::default();
    let recording = decoder.record(&case.batch, case.predictions.clone(), Activations::Kept, None, &mut pool).unwrap();
    let refused = decoder.backward(recording, &case.dlogprobs, None, (&mut [], Sums::Begin), &mut pool);
    assert!(refused.unwrap_err().to_string().contains("do not fit 175 predictions"));
}
