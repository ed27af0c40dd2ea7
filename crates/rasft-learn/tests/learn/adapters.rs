//! Training an adapter: what moves, what does not, and that dropout leaves every promise whole.

use crate::support::{ADAMW, floats, params, tiny_decoder, trajectories, weight_bits};
use rasft_learn::{
    Activations, LearnError, MicroBatching, Order, RunPlan, Trainer, TrainerParams, TrainerState, load_state,
    save_checkpoint, save_merged, train,
};
use rasft_model::{Adapter, AdapterFrom, Decoder, LoadOptions, LoraConfig, ModelDir, WeightsDtype};
use std::path::Path;
use std::sync::atomic::AtomicBool;

const PLAN: RunPlan = RunPlan { order: Order::AsGiven, batch_size: 4, steps: 6, consumed: 0 };

fn lora(dropout: f64) -> LoraConfig {
    let targets = ["q_proj", "v_proj", "down_proj"].map(str::to_owned).to_vec();
    LoraConfig { rank: 4, alpha: 8.0, dropout, targets, rank_stabilised: false }
}

fn base(dir: &Path) -> ModelDir {
    tiny_decoder().save_dir(dir, None, WeightsDtype::F32).unwrap();
    ModelDir::open(dir).unwrap()
}

fn trainer(base: &ModelDir, dropout: f64, params: TrainerParams) -> Trainer {
    let decoder =
        Decoder::load_with_adapter(base, &lora(dropout), AdapterFrom::Seed(1), &LoadOptions::trainable()).unwrap();
    Trainer::new(decoder, params).with_seed(5)
}

fn go(trainer: &mut Trainer, plan: RunPlan) -> Vec<f64> {
    let report =
        train(trainer, &trajectories(7), &plan, &AtomicBool::new(false), &mut |_| Ok::<(), LearnError>(())).unwrap();
    report.metrics.iter().map(|m| m.loss).collect()
}

#[test]
fn the_base_stays_and_the_adapter_learns() {
    let dir = tempfile::tempdir().unwrap();
    let base = base(dir.path());
    let mut trainer = trainer(&base, 0.0, TrainerParams { objective: "sft".parse().unwrap(), ..params() });
    assert_eq!(trainer.optimizer().exp_avg.len(), 2 * 3 * 2, "moments of the adapter alone");
    let losses = go(&mut trainer, RunPlan { steps: 60, ..PLAN });
    assert!(losses[59] < 0.7 * losses[0], "{} {}", losses[0], losses[59]);
    let off = trainer.decoder().without_adapter().unwrap().unwrap();
    let packed = rasft_model::Packed::from_sequences(&[&[3u32, 4, 5]]);
    let plain = Decoder::load(&base, &LoadOptions::default()).unwrap();
    assert_eq!(floats(&off.hidden(&packed).unwrap()), floats(&plain.hidden(&packed).unwrap()));
}

#[test]
fn dropout_does_not_depend_on_how_a_step_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let base = base(dir.path());
    let first = |cut| {
        let mut trainer = trainer(&base, 0.3, TrainerParams { micro_batching: cut, ..params() });
        go(&mut trainer, RunPlan { steps: 3, ..PLAN })[2]
    };
    let whole = first(MicroBatching::Sequences(4));
    for cut in [MicroBatching::Sequences(1), MicroBatching::Tokens(20)] {
        assert!((first(cut) / whole - 1.0).abs() < 1e-4, "{cut:?}: {} {whole}", first(cut));
    }
    let mut other = trainer(&base, 0.3, params()).with_seed(6);
    assert_ne!(go(&mut other, RunPlan { steps: 2, ..PLAN })[1], {
        let mut same = trainer(&base, 0.3, params());
        go(&mut same, RunPlan { steps: 2, ..PLAN })[1]
    });
}

#[test]
fn activations_kept_or_recomputed_end_in_the_same_adapter() {
    let dir = tempfile::tempdir().unwrap();
    let base = base(dir.path());
    let trained = |activations| {
        let mut trainer = trainer(&base, 0.3, TrainerParams { activations, ..params() });
        assert!(trainer.decoder().can_record());
        go(&mut trainer, PLAN);
        weight_bits(trainer.decoder())
    };
    let before = weight_bits(trainer(&base, 0.3, params()).decoder());
    let kept = trained(Activations::Kept);
    assert!(kept != before && trained(Activations::Recomputed) == kept);
}

#[test]
fn a_continued_adapter_ends_as_an_uninterrupted_one() {
    let [base_dir, dir, merged] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let base = base(base_dir.path());
    let mut whole = trainer(&base, 0.2, params());
    go(&mut whole, PLAN);
    let mut first = trainer(&base, 0.2, params());
    go(&mut first, RunPlan { steps: 2, ..PLAN });
    let state = TrainerState { step: 2, consumed: 8, params: serde_json::Value::Null };
    save_checkpoint(dir.path(), first.decoder(), &base, WeightsDtype::F32, first.optimizer(), &state).unwrap();
    assert!(!dir.path().join("model.safetensors").exists());

    let adapter = Adapter::open(dir.path()).unwrap();
    let from = AdapterFrom::Files(&adapter);
    let decoder = Decoder::load_with_adapter(&base, &adapter.lora, from, &LoadOptions::trainable()).unwrap();
    let (optimizer, state) = load_state(dir.path(), &decoder, ADAMW).unwrap();
    let mut second = Trainer::new(decoder, params()).with_seed(5);
    second.restore(optimizer);
    go(&mut second, RunPlan { steps: 4, consumed: state.consumed, ..PLAN });
    assert_eq!(weight_bits(second.decoder()), weight_bits(whole.decoder()));
    assert_eq!(second.optimizer(), whole.optimizer());

    save_merged(merged.path(), second.decoder(), &base, WeightsDtype::F32, &state).unwrap();
    let names: Vec<_> = std::fs::read_dir(merged.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3, "{names:?}"); // config, weights, trainer.json: no adapter, no moments
}
