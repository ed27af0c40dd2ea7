//! What must not matter: how a step is cut, how many threads run, when it runs.

use crate::support::{assert_close, frozen, params, tiny_decoder, tiny_trainer, trajectories, weight_bits, widened};
use rasft_learn::reference::score;
use rasft_learn::{
    Activations, MicroBatching, Normalization, Objective, Order, RunPlan, Trainer, TrainerParams, Trajectory, train,
};
use rasft_types::StepMetrics;
use std::sync::atomic::AtomicBool;

const CUTS: [MicroBatching; 4] = [
    MicroBatching::Tokens(1 << 20),
    MicroBatching::Tokens(30),
    MicroBatching::Sequences(1),
    MicroBatching::Sequences(3),
];

/// Metrics and gradients of one step under another cut.
fn one_step(trainer: TrainerParams, rows: &[Trajectory]) -> (StepMetrics, Vec<f64>) {
    let mut trainer = if trainer.objective.kl_weight().is_some() {
        let other = tiny_decoder();
        let (_, first) = &other.parameters()[0];
        first.set(&(first.as_tensor() * 0.9).unwrap()).unwrap();
        tiny_trainer(trainer).with_reference(frozen(&other)).unwrap()
    } else {
        tiny_trainer(trainer)
    };
    let metrics = trainer.step(&rows.iter().collect::<Vec<_>>()).unwrap();
    (metrics, trainer.gradients().flat_map(|(_, grad)| widened(grad)).collect())
}

#[test]
fn global_normalisation_does_not_depend_on_the_cut() {
    let rows = trajectories(12);
    for name in Objective::NAMES {
        let objective = Objective::parse(name, 0.4, 1.2).unwrap();
        let cut = |micro_batching| one_step(TrainerParams { objective, micro_batching, ..params() }, &rows);
        let (whole, grads) = cut(CUTS[0]);
        assert!(whole.loss != 0.0 && whole.grad_norm > 0.0, "{name}: {whole:?}");
        for micro_batching in &CUTS[1..] {
            let (metrics, of_cut) = cut(*micro_batching);
            assert_close(name, &[metrics.loss, metrics.grad_norm], &[whole.loss, whole.grad_norm], 0.0, 1e-5);
            assert_close(name, &of_cut, &grads, 1e-6 * whole.grad_norm, 1e-4);
            assert_eq!((metrics.tokens, metrics.response_tokens), (whole.tokens, whole.response_tokens));
        }
    }
}

#[test]
fn micro_batch_normalisation_is_the_mean_of_the_micro_batches() {
    let rows = trajectories(6);
    for name in Objective::NAMES {
        let objective = Objective::parse(name, 0.4, 1.2).unwrap();
        let step = |rows: &[Trajectory]| {
            let (normalization, micro_batching) = (Normalization::MicroBatch, MicroBatching::Sequences(3));
            one_step(TrainerParams { objective, normalization, micro_batching, ..params() }, rows)
        };
        let (joint, (first, second)) = (step(&rows), (step(&rows[..3]), step(&rows[3..])));
        let mean = |a: &f64, b: &f64| (a + b) / 2.0;
        assert_close(name, &[joint.0.loss], &[mean(&first.0.loss, &second.0.loss)], 0.0, 1e-6);
        let grads: Vec<f64> = first.1.iter().zip(&second.1).map(|(a, b)| mean(a, b)).collect();
        assert_close(name, &joint.1, &grads, 1e-6 * joint.0.grad_norm, 1e-4);
    }
}

/// A short run; the bits of all weights and the metrics.
fn run(threads: usize, activations: Activations) -> (Vec<Vec<u32>>, Vec<StepMetrics>) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| {
        let mut trainer = tiny_trainer(TrainerParams { activations, ..params() });
        let plan = RunPlan { order: Order::Shuffled { seed: 5 }, batch_size: 6, steps: 4, consumed: 0 };
        let report = train(&mut trainer, &trajectories(10), &plan, &AtomicBool::new(false), &mut |_| {
            Ok::<(), rasft_learn::LearnError>(())
        })
        .unwrap();
        (weight_bits(trainer.decoder()), report.metrics)
    })
}

#[test]
fn runs_repeat_to_the_bit_for_any_number_of_threads_and_with_recomputed_activations() {
    let first = run(1, Activations::Kept);
    assert_ne!(first.0, weight_bits(&tiny_decoder()));
    for threads in [1, 2, 3] {
        for activations in [Activations::Kept, Activations::Recomputed] {
            assert_eq!(run(threads, activations), first, "{threads} threads, {activations:?}");
        }
    }
}

#[test]
fn scores_do_not_depend_on_the_batch_or_on_the_layout_of_the_weights() {
    let (decoder, rows) = (tiny_decoder(), trajectories(9));
    let whole = score(&decoder, &rows, 1 << 20).unwrap();
    assert_eq!(score(&decoder, &rows, 1).unwrap(), whole);
    assert_eq!(score(&frozen(&decoder), &rows, 25).unwrap(), whole);
    for (score, row) in whole.iter().zip(&rows) {
        assert_eq!(score.n_tokens, row.response_len());
        assert!(score.mean_logprob < 0.0);
    }
}

#[test]
fn every_parameter_gets_a_finite_gradient_from_every_objective() {
    let rows = trajectories(8);
    for name in Objective::NAMES {
        let mut trainer = Trainer::new(
            tiny_decoder(),
            TrainerParams { objective: Objective::parse(name, 0.4, 1.2).unwrap(), ..params() },
        )
        .with_reference(frozen(&tiny_decoder()))
        .unwrap();
        trainer.step(&rows.iter().collect::<Vec<_>>()).unwrap();
        for (parameter, grad) in trainer.gradients() {
            assert!(grad.iter().all(|g| g.is_finite()), "{name} {parameter}");
            assert!(grad.iter().any(|g| *g != 0.0), "{name} {parameter}");
        }
    }
}
