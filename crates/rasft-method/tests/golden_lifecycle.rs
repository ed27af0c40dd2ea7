//! The reference's main loop (§10), built from the crate's functions, against its recorded event traces (`golden/lifecycle.jsonl`).
//!
//! The loop below repeats the reference's faults where the traces hold them: B2 (long prompts are lost), B3 (a chunk is routed per
//! micro-batch), B4 (hard problems are trained at routing and at the flush), B8 (a refresh per micro-step, no probe without pending
//! problems), B12 (an incomplete accumulation is dropped). None of them is in the library.

mod common;
#[path = "common/flags.rs"]
mod flags;
#[path = "common/params.rs"]
mod params;

use common::{close, f64, golden, list, str, usize};
use flags::bool;
use params::group_params;
use rasft_method::SolvabilityParams;
use rasft_method::calibration::{Quantiles, Thresholds, calibrate};
use rasft_method::hard_pool::{Probe, probe};
use rasft_method::routing::route;
use rasft_method::selection::{main_count, probe_count};
use rasft_method::weights::{Counts, Weights, group_stats, reference};
use rasft_method::window::{Window, alpha};
use rasft_types::{Fallback, Route};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const TOLERANCE: f64 = 1e-6;

/// A trajectory in the queue: problem, expert or rollout, weight.
type Item = (usize, &'static str, f64);

/// Configuration and recorded inputs of one trace.
struct Setting<'a> {
    row: &'a Value,
    config: &'a Value,
    params: SolvabilityParams,
    initial: Vec<f64>,
    draws: VecDeque<Vec<Vec<usize>>>,
}

/// The reference's state.
struct Loop<'a> {
    setting: Setting<'a>,
    thresholds: Thresholds,
    events: Vec<Value>,
    queue: VecDeque<Item>,
    pending: Vec<usize>,
    pool: Vec<usize>,
    cursor: usize,
    opt_step: i64,
    micro: usize,
    n_refreshes: usize,
}

#[test]
fn lifecycle() {
    let Some(rows) = golden("lifecycle.jsonl") else { return };
    for row in &rows {
        let mut run = Loop::start(row);
        run.train();
        run.check(row);
    }
}

impl<'a> Loop<'a> {
    fn start(row: &'a Value) -> Self {
        let refreshes = row["events"].as_array().unwrap().iter().filter(|e| e["ev"] == "refresh");
        let setting = Setting {
            row,
            config: &row["config"],
            params: group_params(&row["group_params"]),
            initial: list(&row["initial_losses"], f64),
            draws: refreshes.map(|e| list(&e["draws"], |d| list(d, usize))).collect(),
        };
        let q = |name: &str| f64(&setting.config[name]);
        let quantiles = Quantiles {
            easy_floor_q: q("easy_floor_q"),
            start_low_q: q("start_low_q"),
            start_high_q: q("start_high_q"),
            end_low_q: q("end_low_q"),
            end_high_q: q("end_high_q"),
            hard_probe_ceiling_q: q("hard_probe_ceiling_q"),
        };
        let losses: Vec<f32> = setting.initial.iter().map(|l| *l as f32).collect();
        let thresholds = calibrate(&losses, &quantiles).unwrap();
        let mut run = Self {
            setting,
            thresholds,
            events: Vec::new(),
            queue: VecDeque::new(),
            pending: Vec::new(),
            pool: Vec::new(),
            cursor: 0,
            opt_step: 0,
            micro: 0,
            n_refreshes: 0,
        };
        run.losses(&(0..run.n()).collect::<Vec<_>>());
        run.events.push(json!({"ev": "thresholds", "thresholds": run.thresholds}));
        run
    }

    fn n(&self) -> usize {
        self.setting.initial.len()
    }

    fn count(&self, name: &str) -> usize {
        usize(&self.setting.config[name])
    }

    fn total(&self) -> i64 {
        self.count("total_train_steps") as i64
    }

    fn window(&self) -> Window {
        Window::at(&self.thresholds, alpha(self.opt_step, self.total()))
    }

    /// Losses of the recorded table at the current step.
    fn losses(&mut self, problems: &[usize]) -> Vec<f64> {
        let factor = (1.0 - f64(&self.setting.row["loss_decay_per_opt_step"])).powi(self.opt_step as i32);
        let losses: Vec<f64> = problems.iter().map(|&i| f64::from((self.setting.initial[i] * factor) as f32)).collect();
        self.events.push(json!({"ev": "losses", "idx": problems, "losses": losses}));
        losses
    }

    fn train(&mut self) {
        let interval = self.count("refresh_interval_steps") as i64;
        while self.opt_step < self.total() {
            if self.cursor < self.n() {
                self.route_chunk();
            }
            // B8: true for every micro-step while the optimizer stays at a multiple of the interval.
            if self.opt_step > 0 && self.opt_step % interval == 0 && !self.pending.is_empty() {
                self.refresh();
            }
            if self.queue.is_empty() && !self.pending.is_empty() {
                self.refresh();
            }
            if self.queue.is_empty() && self.cursor == self.n() && self.pending.is_empty() {
                if self.pool.is_empty() {
                    break;
                }
                self.flush();
            }
            self.micro_batch();
        }
        if bool(&self.setting.config["final_refresh"]) && !self.pending.is_empty() {
            self.refresh();
        }
        self.flush();
        while self.opt_step < self.total() && !self.queue.is_empty() {
            self.micro_batch();
        }
    }

    fn route_chunk(&mut self) {
        let end = self.n().min(self.cursor + self.count("raw_chunk_size"));
        let chunk: Vec<usize> = (self.cursor..end).collect();
        self.cursor = end;
        let losses = self.losses(&chunk);
        let window = self.window();
        let routes: Vec<Route> = losses.iter().map(|d| route(*d, &window)).collect();
        let with = |wanted: &[Route]| -> Vec<usize> {
            chunk.iter().zip(&routes).filter(|(_, r)| wanted.contains(r)).map(|(i, _)| *i).collect()
        };
        let (easy, mid, hard) = (with(&[Route::Easy]), with(&[Route::Mid]), with(&[Route::Hard]));
        let never = with(&[Route::Gap, Route::Never]);
        self.enqueue_experts(easy.iter().chain(&hard).chain(&never).copied());
        self.pending.extend(mid);
        self.pool.extend(hard);
    }

    fn enqueue_experts(&mut self, problems: impl Iterator<Item = usize>) {
        self.queue.extend(problems.map(|i| (i, "e", 1.0)));
    }

    fn refresh(&mut self) {
        self.n_refreshes += 1;
        let draws = self.setting.draws.pop_front().expect("the trace has another refresh");
        self.events.push(json!({
            "ev": "refresh", "refresh": self.n_refreshes, "step": self.opt_step, "pending_mid": self.pending,
            "hard_pool": self.pool, "draws": draws,
        }));
        let k_main = main_count(self.pending.len(), f64(&self.setting.config["main_rollout_ratio"]));
        let k_probe = probe_count(self.pool.len(), f64(&self.setting.config["hard_probe_ratio"]));
        let mut draws = draws.into_iter();
        let main: BTreeSet<usize> = draws.next().unwrap_or_default().into_iter().collect();
        let probed: BTreeSet<usize> = draws.next().unwrap_or_default().into_iter().collect();
        assert_eq!((main.len(), probed.len()), (k_main, k_probe), "draws of refresh {}", self.n_refreshes);

        let unselected: Vec<usize> = self.pending.iter().copied().filter(|i| !main.contains(i)).collect();
        self.enqueue_experts(unselected.into_iter());
        let selected: BTreeSet<usize> = main.into_iter().chain(self.probe(probed)).collect();
        // B2: a problem whose prompt is too long is lost here.
        let long: BTreeSet<usize> = list(&self.setting.row["long_prompts"], usize).into_iter().collect();
        let rolled_out: Vec<usize> = selected.difference(&long).copied().collect();
        self.events.push(json!({"ev": "rollout", "refresh": self.n_refreshes, "idx": rolled_out}));
        for problem in rolled_out {
            self.enqueue_group(problem);
        }
        self.pending.clear();
        self.events.push(json!({
            "ev": "refresh_done", "refresh": self.n_refreshes, "hard_pool": self.pool, "queue_len": self.queue.len(),
        }));
    }

    /// The probed problems that get rollouts.
    fn probe(&mut self, probed: BTreeSet<usize>) -> Vec<usize> {
        if probed.is_empty() {
            return Vec::new();
        }
        let probed: Vec<usize> = probed.into_iter().collect();
        let losses = self.losses(&probed);
        let window = self.window();
        let mut out = Vec::new();
        for (i, loss) in probed.into_iter().zip(losses) {
            match probe(loss, &window) {
                Probe::Released => {
                    self.pool.retain(|p| *p != i);
                    self.enqueue_experts([i].into_iter());
                }
                Probe::RollOut => out.push(i),
                Probe::Stays => {}
            }
        }
        out
    }

    fn enqueue_group(&mut self, problem: usize) {
        let plan = list(&self.setting.row["rollout_plans"][problem], str);
        let count = |kind: &str| plan.iter().filter(|p| **p == kind).count();
        let (n_correct, n_wrong) = (count("pos"), count("neg"));
        let counts = Counts {
            n_samples: plan.len(),
            n_verified: n_correct,
            n_unique: plan.len(),
            n_usable: n_correct + n_wrong,
            n_correct,
            n_negatives: n_wrong.min(self.setting.params.max_negative_keep),
        };
        let stats = group_stats(&counts, &self.setting.params);
        let Weights { expert, rollouts, fallback } = reference(&counts, &stats, &self.setting.params);
        self.queue.push_back((problem, "e", expert));
        self.queue.extend(rollouts.into_iter().map(|w| (problem, "r", w)));
        if fallback == Fallback::None {
            self.pool.retain(|p| *p != problem);
        }
    }

    fn flush(&mut self) {
        // B4: these were trained when they were routed.
        self.pool.sort_unstable();
        let pool = std::mem::take(&mut self.pool);
        self.enqueue_experts(pool.into_iter());
    }

    fn micro_batch(&mut self) {
        let n = self.count("per_device_train_batch_size").min(self.queue.len());
        if n == 0 {
            return;
        }
        let items: Vec<Value> = self.queue.drain(..n).map(|(i, kind, weight)| json!([i, kind, weight])).collect();
        self.events.push(json!({"ev": "micro", "items": items}));
        self.micro += 1;
        if self.micro.is_multiple_of(self.count("grad_accum_steps")) {
            self.opt_step += 1;
            self.events.push(json!({"ev": "opt_step", "step": self.opt_step}));
        }
    }

    fn check(&self, row: &Value) {
        let name = str(&row["name"]);
        let expected = row["events"].as_array().unwrap();
        for (at, (got, want)) in self.events.iter().zip(expected).enumerate() {
            assert_same(got, want, &format!("{name}, event {at}: {got} instead of {want}"));
        }
        assert_eq!(self.events.len(), expected.len(), "{name}: number of events");
        assert_eq!(self.opt_step, row["optimizer_steps"].as_i64().unwrap(), "{name}");
        // B12: these micro-gradients never reach the optimizer.
        assert_eq!(self.micro % self.count("grad_accum_steps"), usize(&row["leftover_micro"]), "{name}");
        self.check_trained(row, name);
    }

    fn check_trained(&self, row: &Value, name: &str) {
        let mut trained: BTreeMap<String, [u64; 2]> = BTreeMap::new();
        let micros = self.events.iter().filter(|e| e["ev"] == "micro");
        for item in micros.flat_map(|e| e["items"].as_array().unwrap()) {
            let rollout = usize::from(item[1] == "r");
            trained.entry(item[0].to_string()).or_default()[rollout] += 1;
        }
        assert_eq!(json!(trained), row["trained_counts"], "{name}: trained");
        let never: Vec<usize> = (0..self.n()).filter(|i| !trained.contains_key(&i.to_string())).collect();
        assert_eq!(never, list(&row["never_trained"], usize), "{name}: never trained");
    }
}

/// Equal structure, equal words, numbers within the tolerance.
fn assert_same(got: &Value, want: &Value, what: &str) {
    match (got, want) {
        (Value::Array(a), Value::Array(b)) => {
            assert_eq!(a.len(), b.len(), "{what}");
            a.iter().zip(b).for_each(|(x, y)| assert_same(x, y, what));
        }
        (Value::Object(a), Value::Object(b)) => {
            assert!(a.keys().eq(b.keys()), "{what}");
            a.iter().for_each(|(key, x)| assert_same(x, &b[key], what));
        }
        (Value::Number(_), Value::Number(_)) => close(f64(got), f64(want), TOLERANCE, what),
        _ => assert_eq!(got, want, "{what}"),
    }
}
