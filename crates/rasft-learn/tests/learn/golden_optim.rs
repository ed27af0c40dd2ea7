//! AdamW, clipping and schedules, against `golden/adamw.jsonl` and `golden/schedule.jsonl`.

use crate::support::{assert_close, golden, numbers, read_jsonl, widened};
use candle_core::{Device, Var};
use rasft_learn::{AdamW, AdamWParams, Schedule, ScheduleKind, clip_factor, global_norm};
use serde_json::Value;

fn narrow(value: &Value) -> Vec<Vec<f32>> {
    value.as_array().unwrap().iter().map(|p| numbers(p).iter().map(|x| *x as f32).collect()).collect()
}

fn check_run(case: usize, run: &Value) {
    let betas = numbers(&run["betas"]);
    let number = |name: &str| run[name].as_f64().unwrap();
    let params = AdamWParams {
        beta1: betas[0],
        beta2: betas[1],
        eps: number("eps"),
        weight_decay: number("weight_decay"),
        no_decay_norms: false,
    };
    let shapes = run["shapes"].as_array().unwrap();
    let vars: Vec<(String, Var)> = narrow(&run["init"])
        .into_iter()
        .zip(shapes)
        .map(|(values, shape)| {
            let shape: Vec<usize> = numbers(shape).iter().map(|n| *n as usize).collect();
            ("norm.weight".to_owned(), Var::from_vec(values, shape, &Device::Cpu).unwrap())
        })
        .collect();
    let sizes: Vec<usize> = vars.iter().map(|(_, var)| var.elem_count()).collect();
    let mut optimizer = AdamW::new(&sizes, params);
    let schedule = Schedule {
        kind: ScheduleKind::Cosine,
        warmup_steps: run["warmup"].as_u64().unwrap(),
        total_steps: run["total"].as_u64().unwrap(),
    };
    for (k, step) in run["steps"].as_array().unwrap().iter().enumerate() {
        let what = |part: &str| format!("case {case} step {k} {part}");
        let grads = narrow(&step["grads"]);
        let norm = global_norm(&grads);
        assert_close(&what("norm"), &[norm], &[step["total_norm"].as_f64().unwrap()], 0.0, 1e-6);
        let lr = number("lr") * schedule.multiplier(k as u64);
        assert_close(&what("lr"), &[lr], &[step["lr"].as_f64().unwrap()], 1e-15, 1e-12);
        optimizer.update(&vars, &grads, clip_factor(norm, number("max_grad_norm")), lr).unwrap();
        for (i, (_, var)) in vars.iter().enumerate() {
            let values = widened(&var.flatten_all().unwrap().to_vec1::<f32>().unwrap());
            assert_close(&what("params"), &values, &numbers(&step["params"][i]), 1e-7, 1e-6);
            let moments = [(&optimizer.exp_avg[i], "exp_avg"), (&optimizer.exp_avg_sq[i], "exp_avg_sq")];
            for (moment, name) in moments {
                assert_close(&what(name), &widened(moment), &numbers(&step[name][i]), 1e-12, 2e-6);
            }
        }
    }
}

#[test]
fn adamw_matches_the_recorded_steps() {
    let Some(golden) = golden() else { return };
    let runs = read_jsonl(&golden.join("adamw.jsonl"));
    assert_eq!(runs.len(), 16);
    runs.iter().enumerate().for_each(|(case, run)| check_run(case, run));
}

#[test]
fn cosine_matches_the_recorded_multipliers() {
    let Some(golden) = golden() else { return };
    for (case, row) in read_jsonl(&golden.join("schedule.jsonl")).iter().enumerate() {
        let steps = |name: &str| row[name].as_u64().unwrap();
        let schedule =
            Schedule { kind: ScheduleKind::Cosine, warmup_steps: steps("warmup"), total_steps: steps("total") };
        let expected = numbers(&row["multipliers"]);
        let actual: Vec<f64> = (0..expected.len()).map(|k| schedule.multiplier(k as u64)).collect();
        assert_close(&format!("case {case}"), &actual, &expected, 1e-15, 1e-13);
        for point in row["points"].as_array().unwrap() {
            let actual = schedule.multiplier(point["step"].as_u64().unwrap());
            assert_close(&format!("case {case}"), &[actual], &[point["multiplier"].as_f64().unwrap()], 1e-15, 1e-13);
        }
    }
}

#[test]
fn norms_and_biases_can_be_spared_from_decay() {
    let names = ["model.norm.weight", "model.layers.0.self_attn.q_proj.bias", "model.layers.0.self_attn.q_proj.weight"];
    let step = |no_decay_norms| -> Vec<f32> {
        let vars: Vec<(String, Var)> =
            names.iter().map(|n| ((*n).to_owned(), Var::from_vec(vec![1f32], 1, &Device::Cpu).unwrap())).collect();
        let params = AdamWParams { weight_decay: 0.5, no_decay_norms, ..crate::support::ADAMW };
        AdamW::new(&[1; 3], params).update(&vars, &vec![vec![0.0]; 3], 1.0, 0.5).unwrap();
        vars.iter().map(|(_, var)| var.to_vec1::<f32>().unwrap()[0]).collect()
    };
    assert_eq!(step(true), [1.0, 1.0, 0.75]);
    assert_eq!(step(false), [0.75; 3]);
}
