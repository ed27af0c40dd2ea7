//! Training over bf16 weights: each step is the f32 step over weights that were rounded beforehand, and the f32 master copy
//! takes up what the rounding would lose.

use crate::support::{floats, golden, params, tiny_decoder, trajectories, weight_bits};
use candle_core::{DType, Tensor, Var};
use rasft_learn::{
    Activations, AdamW, LearnError, STATE_FILE, Trainer, TrainerParams, TrainerState, Trajectory, clip_factor,
    load_checkpoint, load_state, save_checkpoint,
};
use rasft_model::{Decoder, LoadOptions, ModelDir, WeightsDtype};
use std::path::Path;

fn half() -> LoadOptions {
    LoadOptions { dtype: WeightsDtype::Bf16, ..LoadOptions::trainable() }
}

fn rounded(x: &Tensor) -> Tensor {
    x.to_dtype(DType::BF16).unwrap().to_dtype(DType::F32).unwrap()
}

fn tiny(dir: &Path) -> ModelDir {
    tiny_decoder().save_dir(dir, None, WeightsDtype::F32).unwrap();
    ModelDir::open(dir).unwrap()
}

/// Three steps in f32 over rounded weights, with a master copy and an optimizer of the test's own: the losses, the
/// gradients, and the master copy at the end.
fn by_hand(
    model: &ModelDir,
    params: TrainerParams,
    reference: Option<&ModelDir>,
    batch: &[&Trajectory],
) -> (Vec<f64>, Vec<Vec<f32>>, Vec<Vec<u32>>) {
    let decoder = Decoder::load(model, &LoadOptions::trainable()).unwrap();
    let copy =
        |(name, var): &(String, Var)| (name.clone(), Var::from_tensor(&var.as_tensor().copy().unwrap()).unwrap());
    let master: Vec<(String, Var)> = decoder.parameters().iter().map(copy).collect();
    let sizes: Vec<usize> = master.iter().map(|(_, var)| var.elem_count()).collect();
    let mut optimizer = AdamW::new(&sizes, params.adamw);
    let mut trainer = held(Trainer::new(decoder, params), reference);
    let (mut losses, mut gradients) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        for ((_, weight), (_, master)) in trainer.decoder().parameters().iter().zip(&master) {
            weight.set(&rounded(master.as_tensor())).unwrap();
        }
        let metrics = trainer.step(batch).unwrap();
        losses.push(metrics.loss);
        gradients = trainer.gradients().map(|(_, g)| g.to_vec()).collect();
        let scale = clip_factor(metrics.grad_norm, params.max_grad_norm);
        optimizer.update(&master, &gradients, scale, metrics.learning_rate).unwrap();
    }
    let bits = |(_, var): &(String, Var)| floats(var.as_tensor()).iter().map(|x| x.to_bits()).collect();
    (losses, gradients, master.iter().map(bits).collect())
}

fn held(trainer: Trainer, reference: Option<&ModelDir>) -> Trainer {
    match reference {
        None => trainer,
        Some(dir) => trainer.with_reference(Decoder::load(dir, &LoadOptions::default()).unwrap()).unwrap(),
    }
}

fn check(model: &ModelDir, params: TrainerParams, reference: Option<&ModelDir>, rows: &[Trajectory]) {
    let batch: Vec<&Trajectory> = rows.iter().collect();
    let (losses, gradients, master) = by_hand(model, params, reference, &batch);
    for (activations, threads) in [(Activations::Kept, 1), (Activations::Kept, 2), (Activations::Recomputed, 2)] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let decoder = Decoder::load(model, &half()).unwrap();
            let mut trainer = held(Trainer::new(decoder, TrainerParams { activations, ..params }), reference);
            let found: Vec<f64> = (0..3).map(|_| trainer.step(&batch).unwrap().loss).collect();
            assert_eq!(found, losses);
            assert!(trainer.gradients().zip(&gradients).all(|((_, found), expected)| found == expected));
            assert_eq!(weight_bits(trainer.decoder()), master, "{activations:?} on {threads} threads");
        });
    }
}

#[test]
fn three_steps_are_those_of_f32_over_rounded_weights() {
    let dir = tempfile::tempdir().unwrap();
    let model = tiny(dir.path());
    check(&model, params(), None, &trajectories(9));
    let asft = TrainerParams { objective: "asft".parse().unwrap(), ..params() };
    check(&model, asft, Some(&model), &trajectories(9));
}

#[test]
fn so_are_those_of_a_whole_architecture() {
    let Some(golden) = golden() else { return };
    for arch in ["qwen2", "llama_rope3", "qwen3"] {
        let model = ModelDir::open(golden.join("models").join(arch).join("policy")).unwrap();
        check(&model, TrainerParams { learning_rate: 5e-5, ..params() }, None, &trajectories(9));
    }
}

#[test]
fn updates_below_the_step_of_bf16_add_up() {
    let dir = tempfile::tempdir().unwrap();
    let decoder = Decoder::load(&tiny(dir.path()), &half()).unwrap();
    let norm = decoder.parameters().iter().position(|(name, _)| name == "model.norm.weight").unwrap();
    let passes = |trainer: &Trainer| {
        let out = tempfile::tempdir().unwrap();
        trainer.decoder().save_dir(out.path(), None, WeightsDtype::Bf16).unwrap();
        let tensors = candle_core::safetensors::load(out.path().join("model.safetensors"), &candle_core::Device::Cpu);
        floats(&tensors.unwrap()["model.norm.weight"].to_dtype(DType::F32).unwrap())
    };
    // From 1 to the next bf16 it is 2⁻⁷ upwards and 2⁻⁸ downwards; AdamW moves a weight by about the rate.
    let params = TrainerParams { learning_rate: 2.5e-4, ..params() };
    let mut trainer = Trainer::new(decoder, params);
    let rows = trajectories(6);
    let batch: Vec<&Trajectory> = rows.iter().collect();
    for _ in 0..4 {
        trainer.step(&batch).unwrap();
        assert_eq!(passes(&trainer), vec![1.0; 32], "no update is large enough to show");
    }
    let master = floats(trainer.decoder().parameters()[norm].1.as_tensor());
    assert!(master.iter().any(|x| (x - 1.0).abs() > 6e-4), "four updates lie in the master copy: {master:?}");
    for _ in 0..30 {
        trainer.step(&batch).unwrap();
    }
    assert!(passes(&trainer).iter().any(|x| *x != 1.0), "in the end they show");
}

fn place(trainer: &Trainer) -> TrainerState {
    TrainerState { step: trainer.optimizer().step, consumed: 0, params: serde_json::Value::Null }
}

#[test]
fn a_checkpoint_goes_on_to_the_last_bit() {
    let [dir, kept] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let model = tiny(dir.path());
    let rows = trajectories(6);
    let batch: Vec<&Trajectory> = rows.iter().collect();
    let mut trainer = Trainer::new(Decoder::load(&model, &half()).unwrap(), params());
    let go = |trainer: &mut Trainer, steps| {
        for _ in 0..steps {
            trainer.step(&batch).unwrap();
        }
    };
    go(&mut trainer, 2);
    let save = |trainer: &Trainer, dtype| {
        save_checkpoint(kept.path(), trainer.decoder(), &model, dtype, trainer.optimizer(), &place(trainer)).unwrap();
    };
    for dtype in [WeightsDtype::Bf16, WeightsDtype::F32] {
        save(&trainer, dtype);
        let (mut other, _) = load_checkpoint(kept.path(), &half(), params()).unwrap();
        assert_eq!(weight_bits(other.decoder()), weight_bits(trainer.decoder()), "{dtype:?}: the master copy is whole");
        go(&mut trainer, 1);
        go(&mut other, 1);
        assert_eq!(weight_bits(other.decoder()), weight_bits(trainer.decoder()), "{dtype:?}");
        assert_eq!(other.optimizer(), trainer.optimizer());
    }
    let tensors = candle_core::safetensors::load(kept.path().join(STATE_FILE), &candle_core::Device::Cpu).unwrap();
    assert_eq!(tensors.len(), 3 * trainer.decoder().parameters().len());

    // In f32 it goes on from the weights that were trained.
    let (plain, _) = load_checkpoint(kept.path(), &LoadOptions::trainable(), params()).unwrap();
    let saved = candle_core::safetensors::load(kept.path().join("model.safetensors"), &candle_core::Device::Cpu);
    let (name, var) = &plain.decoder().parameters()[0];
    assert_eq!(floats(var.as_tensor()), floats(&saved.unwrap()[name]));

    // The master copy of other weights is none.
    let refused = load_state(kept.path(), &Decoder::load(&model, &half()).unwrap(), params().adamw).unwrap_err();
    assert!(matches!(&refused, LearnError::State { path, .. } if path.ends_with(STATE_FILE)), "{refused}");
    assert!(refused.to_string().contains("does not round to the model's weights"), "{refused}");
}
