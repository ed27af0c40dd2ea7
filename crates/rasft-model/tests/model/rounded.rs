//! bf16 weights against f32 ones of the same values: every pass has the same bits, and files hold what the passes read.

use candle_core::{DType, Tensor, Var};
use rasft_model::{
    Activations, AdapterFrom, Decoder, KvCache, LoadOptions, LoraConfig, ModelDir, Packed, Trainable, WeightsDtype,
};
use std::path::Path;

use crate::recorded::{Case, bits, on_threads};
use crate::support::{FAMILIES, floats, read_json, tiny_decoder, tokens};

fn half() -> LoadOptions {
    LoadOptions { dtype: WeightsDtype::Bf16, ..LoadOptions::trainable() }
}

fn rounded(x: &Tensor) -> Tensor {
    x.to_dtype(DType::BF16).unwrap().to_dtype(DType::F32).unwrap()
}

/// A model with f32 weights in `dir`, and the same with its weights rounded beforehand in `dir/rounded`.
fn models(family: &str, dir: &Path) -> [ModelDir; 2] {
    let decoder = tiny_decoder(family, &LoadOptions::trainable());
    let other = dir.join("rounded");
    std::fs::create_dir_all(&other).unwrap();
    decoder.save_dir(dir, None, WeightsDtype::F32).unwrap();
    for (name, var) in decoder.parameters() {
        let rounded = rounded(var.as_tensor());
        assert_ne!(floats(&rounded), floats(var.as_tensor()), "{name}: rounding changes something");
        var.set(&rounded).unwrap();
    }
    decoder.save_dir(&other, None, WeightsDtype::F32).unwrap();
    [ModelDir::open(dir).unwrap(), ModelDir::open(&other).unwrap()]
}

#[test]
fn passes_have_the_bits_of_f32_on_rounded_weights() {
    for family in FAMILIES {
        let dir = tempfile::tempdir().unwrap();
        let [model, rounded] = models(family, dir.path());
        let found = Decoder::load(&model, &half()).unwrap();
        let expected = Decoder::load(&rounded, &LoadOptions::trainable()).unwrap();
        assert!(found.has_master() && !expected.has_master() && found.trainable() == Trainable::Yes);
        for case in Case::both(&expected) {
            for activations in [Activations::Kept, Activations::Recomputed] {
                let (logprobs, sums) = case.recorded(&expected, activations);
                for threads in [1, 2] {
                    let (other_logprobs, other_sums) = on_threads(threads, || case.recorded(&found, activations));
                    assert_eq!(bits(&[other_logprobs]), bits(std::slice::from_ref(&logprobs)), "{family}");
                    assert_eq!(bits(&other_sums), bits(&sums), "{family} {activations:?} on {threads} threads");
                }
            }
        }
        let case = Case::alike(&expected);
        let [a, b] = [&found, &expected].map(|d| d.hidden(&case.batch).unwrap());
        assert_eq!(bits(&[floats(&a)]), bits(&[floats(&b)]), "{family}");
        let [a, b] = [&found, &expected].map(|d| floats(&d.logits(&b).unwrap()));
        assert_eq!(bits(&[a]), bits(&[b]), "{family}");
        let cached = |decoder: &Decoder| {
            let ids = tokens(9, 97, 5);
            let mut cache = KvCache::new(decoder.config(), 1, 16).unwrap();
            floats(&decoder.hidden_cached(&Packed::from_sequences(&[ids]), &mut cache).unwrap())
        };
        assert_eq!(bits(&[cached(&found)]), bits(&[cached(&expected)]), "{family}");
    }
}

#[test]
fn files_hold_the_weights_of_the_passes() {
    let [dir, out] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [model, _] = models("qwen2", dir.path());
    let decoder = Decoder::load(&model, &half()).unwrap();
    let batch = Case::alike(&decoder).batch;
    let expected = bits(&[floats(&decoder.hidden(&batch).unwrap())]);
    for (dtype, word) in [(WeightsDtype::Bf16, "bfloat16"), (WeightsDtype::F32, "float32")] {
        decoder.save_dir(out.path(), None, dtype).unwrap();
        assert_eq!(read_json(&out.path().join("config.json"))["torch_dtype"], word);
        let saved = Decoder::load(&ModelDir::open(out.path()).unwrap(), &LoadOptions::default()).unwrap();
        assert_eq!(bits(&[floats(&saved.hidden(&batch).unwrap())]), expected, "{dtype:?}");
    }
}

#[test]
fn the_master_copy_is_rounded_when_told_and_restored_when_it_fits() {
    let dir = tempfile::tempdir().unwrap();
    let [model, _] = models("llama3", dir.path());
    let decoder = Decoder::load(&model, &half()).unwrap();
    let batch = Case::alike(&decoder).batch;
    let hidden = || floats(&decoder.hidden(&batch).unwrap());
    let before = hidden();
    let (_, var) = &decoder.parameters()[1];
    let master = floats(var.as_tensor());
    assert_ne!(master, floats(&rounded(var.as_tensor())), "the master copy is not rounded");
    var.set(&(var.as_tensor() * 1.5).unwrap()).unwrap();
    assert_eq!(hidden(), before, "the passes do not read it");
    let refused = decoder.restore_master(1, floats(var.as_tensor())).unwrap_err().to_string();
    assert!(refused.contains("model.layers.0.input_layernorm.weight"), "{refused}");
    decoder.restore_master(1, master.clone()).unwrap();
    assert_eq!(floats(var.as_tensor()), master);
    var.set(&(var.as_tensor() * 1.5).unwrap()).unwrap();
    decoder.round_weights().unwrap();
    assert_ne!(hidden(), before);
    assert!(tiny_decoder("llama", &LoadOptions::trainable()).restore_master(0, vec![]).is_err());
}

#[test]
fn an_adapter_trains_in_f32_over_frozen_bf16_weights() {
    let lora = LoraConfig {
        rank: 3,
        alpha: 6.0,
        dropout: 0.0,
        targets: ["q_proj", "k_proj", "o_proj", "gate_proj", "down_proj"].map(str::to_owned).to_vec(),
        rank_stabilised: false,
    };
    for family in FAMILIES {
        let [dir, out] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let [model, rounded] = models(family, dir.path());
        let load = |model: &ModelDir, options: &LoadOptions| {
            let decoder = Decoder::load_with_adapter(model, &lora, AdapterFrom::Seed(3), options).unwrap();
            for (i, (_, var)) in decoder.parameters().iter().enumerate() {
                let values: Vec<f32> = (0..var.elem_count()).map(|j| 0.2 * ((i * 31 + j * 17) as f32).sin()).collect();
                var.set(&Tensor::from_vec(values, var.shape(), var.device()).unwrap()).unwrap();
            }
            decoder
        };
        let (found, expected) = (load(&model, &half()), load(&rounded, &LoadOptions::trainable()));
        assert!(found.parameters().iter().all(|(_, var): &(String, Var)| var.dtype() == DType::F32));
        let case = Case::alike(&expected);
        let (a, b) = (case.graph(&found), case.graph(&expected));
        assert_eq!(bits(&[a.0]), bits(&[b.0]), "{family}");
        assert_eq!(bits(&a.1), bits(&b.1), "{family}");
        let [a, b] = [&found, &expected].map(|d| d.without_adapter().unwrap().unwrap().hidden(&case.batch).unwrap());
        assert_eq!(bits(&[floats(&a)]), bits(&[floats(&b)]), "{family}: the base alone");
        let merged = |decoder: &Decoder| {
            decoder.save_merged(out.path(), None, WeightsDtype::F32).unwrap();
            std::fs::read(out.path().join("model.safetensors")).unwrap()
        };
        assert!(merged(&found) == merged(&expected), "{family}: merged");
    }
}

#[test]
fn inference_in_bf16_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let [model, _] = models("llama", dir.path());
    let options = LoadOptions { dtype: WeightsDtype::Bf16, ..LoadOptions::default() };
    assert!(Decoder::load(&model, &options).unwrap_err().to_string().contains("inference"));
}
