//! What training does: it learns, warns, and refuses what cannot be trained on.

use crate::support::{frozen, params, tiny_decoder, tiny_trainer, trajectories, weight_bits};
use candle_core::Tensor;
use rasft_learn::reference::score;
use rasft_learn::{
    LearnError, Objective, Order, Report, RunPlan, Trainer, TrainerParams, Trajectory, Warning, kl_to_reference, train,
};
use std::sync::atomic::AtomicBool;

const PLAN: RunPlan = RunPlan { order: Order::AsGiven, batch_size: 4, steps: 3, consumed: 0 };

fn go(trainer: &mut Trainer, rows: &[Trajectory], plan: RunPlan) -> Result<Report, LearnError> {
    train(trainer, rows, &plan, &AtomicBool::new(false), &mut |_| Ok::<(), rasft_learn::LearnError>(()))
}

fn objective(name: &str) -> TrainerParams {
    TrainerParams { objective: Objective::parse(name, 0.4, 1.2).unwrap(), ..params() }
}

#[test]
fn sft_learns_a_small_batch_by_heart() {
    let mut rows = trajectories(4);
    rows.remove(2); // Its prompt has another response already.
    let mut trainer = tiny_trainer(objective("sft"));
    let report = go(&mut trainer, &rows, RunPlan { steps: 80, batch_size: 3, ..PLAN }).unwrap();
    let (first, last) = (&report.metrics[0], &report.metrics[79]);
    assert!(first.loss > 3.0 && last.loss < 0.05, "{} {}", first.loss, last.loss);
    assert!(last.mean_token_prob > 0.95, "{last:?}");
    assert!(score(trainer.decoder(), &rows, 1000).unwrap().iter().all(|s| s.mean_logprob > -0.1));
}

#[test]
fn a_divergence_holds_the_policy_to_its_reference() {
    let rows = trajectories(4);
    let distance = |kl_weight: f64| {
        let mut params = objective("sft-kl");
        params.objective = params.objective.with_kl_weight(kl_weight);
        let mut trainer = tiny_trainer(params).with_reference(frozen(&tiny_decoder())).unwrap();
        go(&mut trainer, &rows, RunPlan { steps: 30, ..PLAN }).unwrap();
        let packed = rasft_model::Packed::from_sequences(&[&rows[0].input_ids]);
        let logits = |d: &rasft_model::Decoder| d.logits(&d.hidden(&packed).unwrap()).unwrap().detach();
        let (kl, _) = kl_to_reference(&logits(trainer.decoder()), &logits(&tiny_decoder())).unwrap();
        kl.iter().sum::<f64>() / kl.len() as f64
    };
    let (free, held) = (distance(0.0), distance(10.0));
    assert!(held < 0.2 * free, "{held} {free}");
}

/// Along the gradient the loss climbs by its norm: (L(θ+εg/‖g‖) − L(θ−εg/‖g‖)) / 2ε = ‖g‖, for objectives whose
/// coefficients do not depend on the policy.
#[test]
fn the_loss_climbs_along_its_gradient() {
    let rows = trajectories(12);
    for (name, kl_weight) in [("sft", 0.0), ("sft-kl", 0.5), ("sft-kl", 50.0)] {
        let mut params = TrainerParams { learning_rate: 0.0, ..objective(name) };
        params.objective = params.objective.with_kl_weight(kl_weight);
        let reference = tiny_decoder();
        for (_, var) in reference.parameters() {
            var.set(&(var.as_tensor() * 0.8).unwrap()).unwrap();
        }
        let mut trainer = tiny_trainer(params).with_reference(frozen(&reference)).unwrap();
        let batch: Vec<&Trajectory> = rows.iter().collect();
        let norm = trainer.step(&batch).unwrap().grad_norm;
        let start: Vec<Tensor> =
            trainer.decoder().parameters().iter().map(|(_, var)| var.as_tensor().copy().unwrap().detach()).collect();
        let direction: Vec<Tensor> = (trainer.gradients().zip(&start))
            .map(|((_, g), at)| (Tensor::from_slice(g, at.shape(), at.device()).unwrap() / norm).unwrap())
            .collect();
        let epsilon = 5e-3;
        let mut loss_at = |distance: f64| {
            for (((_, var), at), along) in trainer.decoder().parameters().iter().zip(&start).zip(&direction) {
                var.set(&(at + (along * distance).unwrap()).unwrap()).unwrap();
            }
            trainer.step(&batch).unwrap().loss
        };
        let slope = (loss_at(epsilon) - loss_at(-epsilon)) / (2.0 * epsilon);
        assert!((slope / norm - 1.0).abs() < 0.01, "{name} {kl_weight}: slope {slope}, norm {norm}");
    }
}

#[test]
fn a_divergence_without_a_reference_model_is_refused() {
    for name in ["sft-kl", "asft"] {
        let mut trainer = tiny_trainer(objective(name));
        let message = go(&mut trainer, &trajectories(4), PLAN).unwrap_err().to_string();
        assert!(message.contains("--reference"), "{message}");
    }
}

#[test]
fn steps_that_are_not_finite_change_nothing_and_name_their_trajectories() {
    let mut rows = trajectories(8);
    let mut trainer = tiny_trainer(params());
    go(&mut trainer, &rows, RunPlan { steps: 1, ..PLAN }).unwrap();
    let (before, moments) = (weight_bits(trainer.decoder()), trainer.optimizer().clone());
    rows[5].weight = f64::MAX;
    let error = go(&mut trainer, &rows, RunPlan { consumed: 4, ..PLAN }).unwrap_err();
    assert!(matches!(error, LearnError::NotFinite { step: 2, .. }));
    let message = error.to_string();
    assert!(message.contains("t4, t5, t6, t7") && message.contains("hint"), "{message}");
    assert_eq!(weight_bits(trainer.decoder()), before);
    assert_eq!(*trainer.optimizer(), moments);
    // And the trainer still works.
    rows[5].weight = 1.0;
    go(&mut trainer, &rows, PLAN).unwrap();
}

#[test]
fn long_lists_of_trajectories_are_shortened() {
    let ids = (0..20).map(|i| format!("t{i}")).collect();
    let message = LearnError::NotFinite { step: 1, what: "loss", ids }.to_string();
    assert!(message.contains("t7 and 12 more"), "{message}");
}

#[test]
fn mixtures_that_teach_nothing_are_reported() {
    let mut rows = trajectories(3);
    rows.iter_mut().for_each(|t| t.weight = 0.0);
    let warnings = |name: &str, rows: &[Trajectory], batch_size| {
        let plan = RunPlan { steps: 1, batch_size, ..PLAN };
        go(&mut tiny_trainer(objective(name)), rows, plan).unwrap().warnings
    };
    assert_eq!(warnings("rasft", &rows, 3), [Warning::NoWeight { rows: 3 }]);
    assert_eq!(warnings("dft", &rows, 3), []);
    rows[1].weight = 0.1;
    assert_eq!(warnings("rasft", &rows, 4), [Warning::FewRows { rows: 3, batch_size: 4 }]);
}

#[test]
fn unusable_rows_and_parameters_are_refused_before_anything_is_trained() {
    let refused = |rows: &[Trajectory], params: TrainerParams, plan: RunPlan, part: &str| {
        let mut trainer = tiny_trainer(params);
        let before = weight_bits(trainer.decoder());
        let message = go(&mut trainer, rows, plan).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
        assert_eq!(weight_bits(trainer.decoder()), before);
    };
    let good = trajectories(6);
    refused(&[], params(), PLAN, "no trajectories");
    refused(&good, params(), RunPlan { batch_size: 0, ..PLAN }, "batch size");
    refused(&good, TrainerParams { learning_rate: f64::NAN, ..params() }, PLAN, "learning rate");
    refused(&good, TrainerParams { max_grad_norm: 0.0, ..params() }, PLAN, "gradient norm");
    let mut bad = good.clone();
    bad[3].input_ids = vec![1; 66];
    refused(&bad, params(), PLAN, "trajectory 3 (t3): 66 tokens exceed");
    bad[3].input_ids = vec![61; 4];
    refused(&bad, params(), PLAN, "trajectory 3 (t3): token 61");
    let message = score(&tiny_decoder(), &[Trajectory { prompt_len: 0, ..good[0].clone() }], 10).unwrap_err();
    assert!(message.to_string().contains("trajectory 0"), "{message}");
}

#[test]
fn the_longest_trajectory_a_model_can_predict_is_trained() {
    let mut rows = trajectories(1);
    rows[0].input_ids = (0..65).map(|i| i % 61).collect();
    let metrics = go(&mut tiny_trainer(params()), &rows, RunPlan { steps: 1, batch_size: 1, ..PLAN }).unwrap().metrics;
    assert_eq!(metrics[0].tokens, 65);
}

/// Rollouts of the tiny model itself, moved by what a few steps of training might.
fn sampled(n: usize) -> Vec<Trajectory> {
    let mut rows = trajectories(n);
    let decoder = tiny_decoder();
    for (i, t) in rows.iter_mut().enumerate() {
        t.weight = [1.2, -0.8, 0.4][i % 3];
        let packed = rasft_model::Packed::from_sequences(&[&t.input_ids[..t.input_ids.len() - 1]]);
        let hidden = decoder.hidden(&packed).unwrap().narrow(0, t.prompt_len - 1, t.response_len()).unwrap();
        let logprobs = decoder.token_logprobs(&hidden.contiguous().unwrap(), &t.input_ids[t.prompt_len..]).unwrap();
        let moved = |(j, lp): (usize, f32)| lp + [0.04, -0.07, 0.5, -0.6, 0.1][(i + j) % 5];
        t.old_logprobs = logprobs.to_vec1::<f32>().unwrap().into_iter().enumerate().map(moved).collect();
    }
    rows
}

/// As for the other objectives: with ratios away from the kinks the loss climbs by the norm of its gradient.
#[test]
fn grpo_climbs_along_its_gradient() {
    let rows = sampled(9);
    let params = TrainerParams { learning_rate: 0.0, ..objective("grpo") };
    let mut trainer = tiny_trainer(params);
    let batch: Vec<&Trajectory> = rows.iter().collect();
    let step = trainer.step(&batch).unwrap();
    assert!(step.clip_low_fraction > 0.0 && step.clip_high_fraction > 0.0, "{step:?}");
    let norm = step.grad_norm;
    let gradient: Vec<Vec<f32>> = trainer.gradients().map(|(_, g)| g.to_vec()).collect();
    let start: Vec<Tensor> =
        trainer.decoder().parameters().iter().map(|(_, var)| var.as_tensor().copy().unwrap().detach()).collect();
    let epsilon = 1e-3;
    let mut loss_at = |distance: f64| {
        for (((_, var), at), g) in trainer.decoder().parameters().iter().zip(&start).zip(&gradient) {
            let along = (Tensor::from_slice(g, at.shape(), at.device()).unwrap() * (distance / norm)).unwrap();
            var.set(&(at + along).unwrap()).unwrap();
        }
        trainer.step(&batch).unwrap().loss
    };
    let slope = (loss_at(epsilon) - loss_at(-epsilon)) / (2.0 * epsilon);
    assert!((slope / norm - 1.0).abs() < 0.02, "slope {slope}, norm {norm}");
}

#[test]
fn grpo_makes_good_rollouts_likelier_than_bad_ones() {
    let mut rows = sampled(6);
    let before = score(&tiny_decoder(), &rows, 1000).unwrap();
    rows.iter_mut().enumerate().for_each(|(i, t)| t.weight = if i < 3 { 1.0 } else { -1.0 });
    let mut trainer = tiny_trainer(TrainerParams { learning_rate: 1e-3, ..objective("grpo") });
    go(&mut trainer, &rows, RunPlan { batch_size: 6, steps: 10, ..PLAN }).unwrap();
    let after = score(trainer.decoder(), &rows, 1000).unwrap();
    let gain = |from: usize| (from..from + 3).map(|i| after[i].mean_logprob - before[i].mean_logprob).sum::<f32>();
    assert!(gain(0) > 0.02 && gain(3) < -0.02, "{} {}", gain(0), gain(3));
}

#[test]
fn grpo_needs_the_behaviour_policy() {
    let mut rows = sampled(4);
    rows[2].old_logprobs.pop();
    let message = go(&mut tiny_trainer(objective("grpo")), &rows, PLAN).unwrap_err().to_string();
    assert!(message.contains("trajectory 2 (t2)") && message.contains("--for grpo"), "{message}");
    rows[2].old_logprobs.push(f32::NAN);
    let message = go(&mut tiny_trainer(objective("grpo")), &rows, PLAN).unwrap_err().to_string();
    assert!(message.contains("old_logprobs holds NaN"), "{message}");
}
