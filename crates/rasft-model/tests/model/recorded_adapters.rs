//! The written-out passes of an adapter beside frozen weights, held to what those of full training are held to.

use candle_core::{Device, Tensor};
use rasft_model::lora::MODULES;
use rasft_model::{
    Activations, AdapterFrom, Decoder, Dropout, LoadOptions, LoraConfig, ModelDir, Packed, Pool, Predictions,
    Trainable, WeightsDtype,
};

use crate::recorded::{adds_up, agrees_with_differences, agrees_with_the_graph, repeats_to_the_bit};
use crate::support::{FAMILIES, tiny_decoder, uniform};

fn lora(targets: &[&str], rank: usize, dropout: f64) -> LoraConfig {
    let targets = targets.iter().map(|t| (*t).to_owned()).collect();
    LoraConfig { rank, alpha: 5.0, dropout, targets, rank_stabilised: false }
}

/// A tiny model of the family with an adapter whose every matrix matters.
fn adapted(family: &str, lora: &LoraConfig, dtype: WeightsDtype) -> Decoder {
    let dir = tempfile::tempdir().unwrap();
    tiny_decoder(family, &LoadOptions::trainable()).save_dir(dir.path(), None, WeightsDtype::F32).unwrap();
    let (model, options) = (ModelDir::open(dir.path()).unwrap(), LoadOptions::trainable());
    let options = LoadOptions { dtype, ..options };
    let decoder = Decoder::load_with_adapter(&model, lora, AdapterFrom::Seed(3), &options).unwrap();
    for (at, (_, var)) in decoder.parameters().iter().enumerate() {
        let mut state = at as u64 + 100;
        let values: Vec<f32> = (0..var.elem_count()).map(|_| 0.2 * uniform(&mut state)).collect();
        var.set(&Tensor::from_vec(values, var.shape(), &Device::Cpu).unwrap()).unwrap();
    }
    decoder
}

#[test]
fn logprobs_have_the_bits_of_the_graph_and_gradients_agree_with_it() {
    let subsets: [&[&str]; 5] =
        [&MODULES, &["q_proj"], &["k_proj", "v_proj", "up_proj"], &["o_proj", "down_proj"], &["gate_proj"]];
    for family in FAMILIES {
        for targets in subsets {
            for (dropout, dtype, rank) in
                [(0.0, WeightsDtype::F32, 5), (0.3, WeightsDtype::F32, 16), (0.3, WeightsDtype::Bf16, 50)]
            {
                let decoder = adapted(family, &lora(targets, rank, dropout), dtype);
                assert!(decoder.can_record() && decoder.parameters().len() == 2 * 3 * targets.len());
                let what = format!("{family} {targets:?} dropout {dropout} {dtype:?} rank {rank}");
                agrees_with_the_graph(&what, &decoder);
            }
        }
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    for family in FAMILIES {
        for dropout in [0.0, 0.3] {
            agrees_with_differences(family, &adapted(family, &lora(&MODULES, 4, dropout), WeightsDtype::F32));
        }
    }
}

#[test]
fn neither_recomputed_activations_nor_threads_change_a_bit() {
    for family in FAMILIES {
        for (dropout, dtype) in [(0.0, WeightsDtype::F32), (0.3, WeightsDtype::Bf16)] {
            repeats_to_the_bit(family, &adapted(family, &lora(&MODULES, 16, dropout), dtype));
        }
    }
}

#[test]
fn sums_go_on_where_they_are_told_to() {
    for family in FAMILIES {
        adds_up(family, &adapted(family, &lora(&["q_proj", "down_proj"], 3, 0.3), WeightsDtype::F32));
    }
}

/// A sequence's mask is its own, and belongs to seed, step and place.
#[test]
fn dropout_belongs_to_its_sequence() {
    let decoder = adapted("qwen2", &lora(&MODULES, 4, 0.5), WeightsDtype::F32);
    let (first, second) = (vec![5u32, 9, 33, 2, 8], vec![40u32, 1, 7]);
    let of = |sequences: &[Vec<u32>], dropout: Dropout, places: &[u64]| {
        let batch = Packed::from_sequences(sequences);
        let last = batch.len() as u32 - 1;
        let predictions = Predictions { rows: vec![last], targets: vec![11] };
        let (kept, mut pool) = (Activations::Kept, Pool::default());
        let recording = decoder.record(&batch, predictions, kept, Some((dropout, places)), &mut pool);
        recording.map(|recording| recording.logprobs()[0].to_bits()).map_err(|e| e.to_string())
    };
    let dropout = Dropout { seed: 1, step: 2 };
    let both = of(&[first.clone(), second.clone()], dropout, &[4, 5]).unwrap();
    assert_eq!(of(std::slice::from_ref(&second), dropout, &[5]).unwrap(), both);
    for (seed, step, place) in [(2, 2, 5), (1, 3, 5), (1, 2, 4)] {
        assert_ne!(of(std::slice::from_ref(&second), Dropout { seed, step }, &[place]).unwrap(), both);
    }
    let refused = of(&[first, second], dropout, &[4]).unwrap_err();
    assert!(refused.contains("dropout for 1 rows in a batch of 2 sequences"), "{refused}");
}

#[test]
fn an_adapter_that_does_not_train_is_not_recorded() {
    let dir = tempfile::tempdir().unwrap();
    tiny_decoder("llama", &LoadOptions::trainable()).save_dir(dir.path(), None, WeightsDtype::F32).unwrap();
    let model = ModelDir::open(dir.path()).unwrap();
    let of = |options: LoadOptions| {
        Decoder::load_with_adapter(&model, &lora(&["q_proj"], 2, 0.0), AdapterFrom::Seed(1), &options).unwrap()
    };
    let frozen = of(LoadOptions::default());
    assert!(frozen.trainable() == Trainable::No && !frozen.can_record());
    let off = of(LoadOptions::trainable()).without_adapter().unwrap().unwrap();
    assert!(!off.can_record());
}
