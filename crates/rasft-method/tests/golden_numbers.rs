//! Advantages, thresholds, windows, routes and selection counts against the reference's recorded numbers (`golden/*.jsonl`).

mod common;
#[path = "common/lists.rs"]
mod lists;

use common::{close, f64, golden, list, str, usize};
use lists::all_close;
use rasft_method::advantages::soft_advantages;
use rasft_method::calibration::{Quantiles, Thresholds, calibrate};
use rasft_method::routing::route;
use rasft_method::selection::{main_count, probe_count};
use rasft_method::window::{Window, alpha};
use rasft_types::Route;
use serde_json::Value;

#[test]
fn advantages() {
    let Some(rows) = golden("advantages.jsonl") else { return };
    for row in &rows {
        let what = format!("{} {} alpha {}", row["kind"], row["rewards"], row["alpha"]);
        let got = soft_advantages(&list(&row["rewards"], f64), f64(&row["alpha"]));
        assert_eq!(got.is_none(), row["advantages"].is_null(), "{what}: {got:?}");
        let Some(got) = got else { continue };
        let got: Vec<f64> = got.into_iter().map(f64::from).collect();
        // The other kinds magnify the rounding of f32 means and deviations (golden/README.md).
        let exact = matches!(str(&row["kind"]), "algorithm" | "random" | "negative_alpha");
        all_close(&got, &list(&row["advantages"], f64), if exact { 2e-6 } else { 1e-2 }, &what);
    }
}

#[test]
fn thresholds() {
    let Some(rows) = golden("windows.jsonl") else { return };
    for row in &rows {
        let quantiles: Quantiles = serde_json::from_value(row["quantiles"].clone()).unwrap();
        let losses: Vec<f32> = list(&row["losses"], |l| f64(l) as f32);
        let expected: Thresholds = serde_json::from_value(row["thresholds"].clone()).unwrap();
        assert_eq!(calibrate(&losses, &quantiles).unwrap(), expected, "{} losses, {quantiles:?}", losses.len());
    }
}

#[test]
fn windows_and_routes() {
    let Some(rows) = golden("windows.jsonl") else { return };
    for row in &rows {
        let thresholds: Thresholds = serde_json::from_value(row["thresholds"].clone()).unwrap();
        for w in row["windows"].as_array().unwrap() {
            let expected: Window = serde_json::from_value(w["window"].clone()).unwrap();
            let got = Window::at(&thresholds, alpha(w["step"].as_i64().unwrap(), w["total"].as_i64().unwrap()));
            let what = format!("step {} of {}", w["step"], w["total"]);
            close(got.alpha, expected.alpha, 1e-12, &what);
            close(got.window_low, expected.window_low, 1e-12, &what);
            close(got.window_high, expected.window_high, 1e-12, &what);
            assert_eq!((got.easy_floor, got.hard_probe_ceiling), (expected.easy_floor, expected.hard_probe_ceiling));
            check_routes(row, w, &expected);
        }
    }
}

fn check_routes(row: &Value, w: &Value, window: &Window) {
    let losses = list(&row["losses"], f64).into_iter().take(40);
    let probes: Vec<f64> = losses.chain(list(&w["probe_extra"], f64)).collect();
    let letter = |d: &f64| match route(*d, window) {
        Route::Easy => 'e',
        Route::Mid => 'm',
        Route::Hard => 'h',
        Route::Gap | Route::Never => 'n',
    };
    assert_eq!(probes.iter().map(letter).collect::<String>(), str(&w["routes"]), "{probes:?} in {window:?}");
}

#[test]
fn selection_counts() {
    let Some(rows) = golden("selection.jsonl") else { return };
    for row in &rows {
        let (n_mid, n_hard) = (usize(&row["n_mid"]), usize(&row["n_hard"]));
        let k_main = main_count(n_mid, f64(&row["main_rollout_ratio"]));
        assert_eq!(k_main, usize(&row["k_main"]), "{row}");
        assert_eq!(n_mid - k_main, usize(&row["n_expert_only"]), "{row}");
        // The pool is probed within a refresh, and there is none without pending problems (B8).
        let k_probe = probe_count(n_hard, f64(&row["hard_probe_ratio"]));
        assert_eq!(k_probe, usize(&row["k_probe"]), "{row}");
    }
}
