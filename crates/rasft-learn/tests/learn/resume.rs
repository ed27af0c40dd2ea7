//! Stopping, saving, loading and going on.

use crate::support::{params, tiny_decoder, tiny_trainer, trajectories, weight_bits};
use rasft_learn::{
    LearnError, Order, Report, RunPlan, STATE_FILE, TRAINER_FILE, Trainer, TrainerState, Trajectory, load_checkpoint,
    load_state, save_checkpoint, train,
};
use rasft_model::{Decoder, ErrorClass, LoadOptions, ModelDir, WeightsDtype};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

const PLAN: RunPlan = RunPlan { order: Order::Shuffled { seed: 3 }, batch_size: 4, steps: 6, consumed: 0 };

fn go(trainer: &mut Trainer, rows: &[Trajectory], plan: RunPlan) -> Report {
    train(trainer, rows, &plan, &AtomicBool::new(false), &mut |_| Ok::<(), LearnError>(())).unwrap()
}

/// A base model directory with something to copy.
fn base(dir: &Path) -> ModelDir {
    tiny_decoder().save_dir(dir, None, WeightsDtype::F32).unwrap();
    for (name, text) in [
        ("tokenizer.json", "{}"),
        ("tokenizer_config.json", "{\"model_max_length\": 64}"),
        ("chat_template.jinja", "{{ messages }}"),
        ("generation_config.json", "{\"eos_token_id\": 2}"),
    ] {
        std::fs::write(dir.join(name), text).unwrap();
    }
    ModelDir::open(dir).unwrap()
}

fn save(dir: &Path, source: &ModelDir, trainer: &Trainer, consumed: u64, dtype: WeightsDtype) {
    let state = TrainerState {
        step: trainer.optimizer().step,
        consumed,
        params: serde_json::json!({"seed": 3, "schedule": "constant", "learning_rate": 0.01}),
    };
    save_checkpoint(dir, trainer.decoder(), source, dtype, trainer.optimizer(), &state).unwrap();
}

fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    let mut files: Vec<(String, Vec<u8>)> =
        entries.map(|p| (p.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&p).unwrap())).collect();
    files.sort();
    files
}

#[test]
fn a_continued_run_ends_as_an_uninterrupted_one() {
    let rows = trajectories(7);
    let mut whole = tiny_trainer(params());
    let of_whole = go(&mut whole, &rows, PLAN);

    let [base_dir, dir] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let source = base(base_dir.path());
    let mut first = tiny_trainer(params());
    let of_first = go(&mut first, &rows, RunPlan { steps: 2, ..PLAN });
    save(dir.path(), &source, &first, of_first.consumed, WeightsDtype::F32);

    let (mut second, state) = load_checkpoint(dir.path(), &LoadOptions::trainable(), params()).unwrap();
    assert_eq!((state.step, state.consumed), (2, 8));
    let of_second = go(&mut second, &rows, RunPlan { steps: 4, consumed: state.consumed, ..PLAN });

    assert_eq!([of_first.metrics, of_second.metrics].concat(), of_whole.metrics);
    assert_eq!(of_second.consumed, of_whole.consumed);
    assert_eq!(weight_bits(second.decoder()), weight_bits(whole.decoder()));
    assert_eq!(second.optimizer(), whole.optimizer());
}

#[test]
fn checkpoints_repeat_to_the_byte_and_keep_the_base_files() {
    let base_dir = tempfile::tempdir().unwrap();
    let source = base(base_dir.path());
    for (dtype, word) in [(WeightsDtype::F32, "float32"), (WeightsDtype::Bf16, "bfloat16")] {
        let write = || {
            let dir = tempfile::tempdir().unwrap();
            let mut trainer = tiny_trainer(params());
            let report = go(&mut trainer, &trajectories(5), RunPlan { steps: 1, ..PLAN });
            save(dir.path(), &source, &trainer, report.consumed, dtype);
            dir
        };
        let (dir, again) = (write(), write());
        assert_eq!(files(dir.path()), files(again.path()));
        let names: Vec<String> = files(dir.path()).into_iter().map(|(name, _)| name).collect();
        assert_eq!(
            names,
            [
                "chat_template.jinja",
                "config.json",
                "generation_config.json",
                "model.safetensors",
                STATE_FILE,
                "tokenizer.json",
                "tokenizer_config.json",
                TRAINER_FILE,
            ]
        );
        let config: serde_json::Value =
            serde_json::from_slice(&std::fs::read(dir.path().join("config.json")).unwrap()).unwrap();
        assert_eq!(config["torch_dtype"], word);
        Decoder::load(&ModelDir::open(dir.path()).unwrap(), &LoadOptions::default()).unwrap();
        let state = candle_core::safetensors::load(dir.path().join(STATE_FILE), &candle_core::Device::Cpu).unwrap();
        assert_eq!(state.len(), 2 * tiny_decoder().parameters().len());
        assert_eq!(state["exp_avg.model.norm.weight"].dims(), [32]);
    }
}

#[test]
fn damaged_and_foreign_state_is_refused() {
    let [base_dir, dir] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let source = base(base_dir.path());
    let trainer = tiny_trainer(params());
    save(dir.path(), &source, &trainer, 0, WeightsDtype::F32);
    let path = dir.path().join(STATE_FILE);
    let good = std::fs::read(&path).unwrap();
    let fails = |bytes: &[u8], part: &str, class: ErrorClass| {
        std::fs::write(&path, bytes).unwrap();
        let error = load_state(dir.path(), trainer.decoder(), params().adamw).unwrap_err();
        let message = error.to_string();
        assert!(message.contains(STATE_FILE) && message.contains(part) && message.contains("hint"), "{message}");
        assert_eq!(error.class(), Some(class));
    };
    fails(&good[..good.len() - 4], "not a whole safetensors file", ErrorClass::Corrupt);
    let mut bad = good.clone();
    let end = bad.len();
    bad[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    fails(&bad, "is NaN at element", ErrorClass::Corrupt);
    let renamed = String::from_utf8_lossy(&good[..4096]).find("exp_avg.model.norm").unwrap();
    let mut bad = good.clone();
    bad[renamed] = b'E';
    fails(&bad, "holds no exp_avg.model.norm.weight", ErrorClass::BadInput);

    std::fs::write(&path, &good).unwrap();
    assert!(load_state(dir.path(), trainer.decoder(), params().adamw).is_ok());
    std::fs::remove_file(dir.path().join(TRAINER_FILE)).unwrap();
    let error = load_state(dir.path(), trainer.decoder(), params().adamw).unwrap_err();
    assert!(matches!(&error, LearnError::State { path, .. } if path.ends_with(TRAINER_FILE)), "{error}");
}

#[test]
fn cancelling_stops_between_steps_and_the_observer_sees_every_step() {
    let cancel = AtomicBool::new(false);
    let mut seen = Vec::new();
    let mut trainer = tiny_trainer(params());
    let report = train(&mut trainer, &trajectories(7), &PLAN, &cancel, &mut |done| {
        assert_eq!(done.trainer.optimizer().step, done.metrics.step);
        seen.push((done.metrics.step, done.consumed));
        cancel.store(done.metrics.step == 3, Ordering::Relaxed);
        Ok::<(), LearnError>(())
    })
    .unwrap();
    assert_eq!(seen, [(1, 4), (2, 8), (3, 12)]);
    assert!(report.cancelled);
    assert_eq!((report.metrics.len(), report.consumed), (3, 12));
}
