//! What each stage tells people on stderr when it is done.

use crate::tables::{bar, render};
use rasft_stages::Outputs;
use serde_json::Value;

/// Cells of a histogram's longest bar.
const BAR: usize = 24;

/// First line of every summary: what it is, how many rows, and how much of it was cached.
fn head(outputs: &Outputs) -> String {
    let cached = match (outputs.hits, outputs.misses) {
        (_, 0) => "cached".to_owned(),
        (0, n) => format!("computed {n} block{}", if n == 1 { "" } else { "s" }),
        (hits, misses) => format!("computed {misses} of {} blocks", hits + misses),
    };
    // A checkpoint has no rows to speak of.
    let rows = if outputs.rows > 0 { format!("{} rows, ", outputs.rows) } else { String::new() };
    format!("{}: {rows}{cached}", outputs.stage)
}

/// A stage's own lines, left out when nothing was computed on purpose.
fn with_head(outputs: &Outputs, lines: impl FnOnce(&Value) -> Vec<String>) -> String {
    if outputs.dry_run {
        return String::new();
    }
    let mut text = vec![head(outputs)];
    text.extend(lines(&outputs.summary).into_iter().map(|line| format!("  {line}")));
    text.join("\n")
}

fn count(summary: &Value, key: &str) -> u64 {
    summary[key].as_u64().unwrap_or(0)
}

fn number(summary: &Value, key: &str) -> f64 {
    summary[key].as_f64().unwrap_or(f64::NAN)
}

fn percent(part: u64, whole: u64) -> String {
    format!("{:.1} %", 100.0 * part as f64 / whole.max(1) as f64)
}

/// `a 3 · b 1` from an object of counts.
fn counts(value: &Value) -> String {
    let Some(map) = value.as_object().filter(|m| !m.is_empty()) else { return "none".to_owned() };
    map.iter().map(|(k, v)| format!("{k} {v}")).collect::<Vec<_>>().join(" · ")
}

/// What a dry run leaves to compute.
pub fn left(outputs: &Outputs) -> String {
    match (outputs.misses, count(&outputs.summary, "units_left")) {
        (0, _) => "nothing to compute".to_owned(),
        (n, 0) => format!("{n} to compute"),
        (n, units) => format!("{n} to compute, {units} problems of them"),
    }
}

/// What a result lacks because of its input.
pub fn incomplete(outputs: &Outputs) -> Option<String> {
    let part = outputs.summary["rollouts_part"].as_str()?;
    Some(format!(
        "warning: the rollouts are {part}, and the result is of these alone\nhint: the same `rasft-rollout` without --shard puts all parts together"
    ))
}

/// Why a look-up missed, from the `nearest` of what was found: the nearest result in the store and the fields in which it differs.
pub fn nearest(found: &Value) -> String {
    let nearest = &found["nearest"];
    let Some(key) = nearest["key"].as_str() else { return String::new() };
    let differences = nearest["differences"].as_array().map(Vec::as_slice).unwrap_or_default();
    let line = |d: &Value| {
        let side = |name: &str| if d[name].is_null() { "absent".to_owned() } else { d[name].to_string() };
        format!("  {}: {} → {}", d["field"].as_str().unwrap_or_default(), side("before"), side("now"))
    };
    let head = format!("  nearest result {}, which differs in", &key[..key.len().min(12)]);
    if differences.is_empty() {
        return format!("{head} fields that hold nothing");
    }
    std::iter::once(head).chain(differences.iter().map(line)).collect::<Vec<_>>().join("\n")
}

/// `rasft-import`.
pub fn import(outputs: &Outputs) -> String {
    with_head(outputs, |s| {
        let mut lines = vec![format!(
            "{} with an answer, {} with an expert solution",
            count(s, "with_answer"),
            count(s, "with_expert")
        )];
        for (key, what) in [
            ("repeated", "exact repeats left out"),
            ("bad_rows", "bad rows skipped, listed in rejects.parquet"),
            ("near_duplicates", "near duplicates (kept)"),
            ("contaminated", "overlap with a benchmark of --against"),
        ] {
            if count(s, key) > 0 {
                lines.push(format!("{} {what}", count(s, key)));
            }
        }
        lines
    })
}

/// How many samples were found, and how many were made or are left to make.
pub fn samples(summary: &Value) -> Option<String> {
    let cached = summary["samples_cached"].as_u64()?;
    Some(match summary["samples_left"].as_u64() {
        Some(left) => format!("samples: {cached} cached, {left} left to compute"),
        None => format!("samples: {} computed, {cached} cached", count(summary, "samples_computed")),
    })
}

/// `rasft-rollout`.
pub fn rollout(outputs: &Outputs) -> String {
    if outputs.dry_run {
        return samples(&outputs.summary).unwrap_or_default();
    }
    with_head(outputs, |s| {
        let (n_samples, tokens) = (count(s, "samples"), count(s, "tokens"));
        let mut lines = vec![format!(
            "{} problems, {n_samples} samples, {tokens} tokens; finished by {}",
            count(s, "problems"),
            counts(&s["finish_reasons"])
        )];
        lines.extend(samples(s));
        let adaptive = &s["adaptive"];
        if adaptive.is_object() {
            let (saved, most) = (count(adaptive, "samples_saved"), count(adaptive, "samples_at_n_max"));
            lines.push(format!(
                "adaptive: {saved} of {most} samples saved ({}); problems ended by {}",
                percent(saved, most),
                counts(&adaptive["problems_by_end"])
            ));
        }
        lines.extend(cut_by_length(s));
        lines
    })
}

fn cut_by_length(summary: &Value) -> Option<String> {
    let share = number(summary, "length_share");
    (share > 0.2).then(|| {
        format!("warning: {:.0} % of the samples hit the length limit; raise --max-new-tokens?", 100.0 * share)
    })
}

/// `rasft-verify`.
pub fn verify(outputs: &Outputs) -> String {
    with_head(outputs, |s| {
        let (samples, correct) = (count(s, "samples"), count(s, "correct"));
        let mut lines =
            vec![format!("{correct} correct ({}); outcomes: {}", percent(correct, samples), counts(&s["outcomes"]))];
        if !s["usable"].is_null() {
            let usable = count(s, "usable");
            lines.push(format!(
                "{usable} usable ({}); rejected by {}",
                percent(usable, samples),
                counts(&s["rejected_by"])
            ));
            if usable * 2 < samples {
                lines.push("warning: the filters reject more than half of the samples; see rejected_by".to_owned());
            }
        }
        lines
    })
}

/// `rasft-score`.
pub fn score(outputs: &Outputs) -> String {
    with_head(outputs, |s| match outputs.stage.as_str() {
        "difficulty" => vec![
            format!("mean expert loss {:.3} nats; routes: {}", number(s, "mean_expert_nll"), counts(&s["routes"])),
            format!("actions: {}; hard pool {}", counts(&s["actions"]), count(s, "hard_pool")),
        ],
        "solvability" => {
            let mut alone = s["fallbacks"].clone();
            alone.as_object_mut().and_then(|reasons| reasons.remove("none"));
            let mut lines = vec![format!(
                "{} of {} problems measured, mean solvability {:.3}; alone with the expert: {}",
                count(s, "measured"),
                count(s, "problems"),
                number(s, "mean_solvability"),
                counts(&alone)
            )];
            lines.extend(histogram(&s["histogram"]));
            lines
        }
        _ => {
            let line = |(name, v): (&String, &Value)| {
                format!(
                    "{name}: {} trajectories, weights add up to {:.2}, {} response tokens",
                    count(v, "trajectories"),
                    // Those of grpo may add up to nothing, from below; no "-0.00" then.
                    (100.0 * number(v, "weight")).round() / 100.0 + 0.0,
                    count(v, "response_tokens")
                )
            };
            s["sources"].as_object().map(|m| m.iter().map(line).collect()).unwrap_or_default()
        }
    })
}

fn histogram(bins: &Value) -> Vec<String> {
    let bins: Vec<u64> = bins.as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
    let max = bins.iter().copied().max().unwrap_or(0);
    let last = bins.len().saturating_sub(1);
    let label = |i: usize| {
        if i == last {
            "    1.0".to_owned()
        } else {
            format!("{:.1}–{:.1}", i as f64 / last as f64, (i + 1) as f64 / last as f64)
        }
    };
    bins.iter().enumerate().map(|(i, n)| format!("{} {:>5} {}", label(i), n, bar(*n as f64, max as f64, BAR))).collect()
}

/// `rasft-train`.
pub fn train(outputs: &Outputs) -> String {
    with_head(outputs, |s| {
        vec![format!(
            "{} steps to global step {}, loss {:.4} → {:.4}, {} sequences, {} tokens",
            count(s, "steps"),
            count(s, "global_step"),
            number(s, "first_loss"),
            number(s, "last_loss"),
            count(s, "sequences"),
            count(s, "tokens")
        )]
    })
}

/// `rasft-eval`.
pub fn eval(outputs: &Outputs) -> String {
    let s = &outputs.summary;
    if outputs.dry_run {
        return samples(s).unwrap_or_default();
    }
    let notes: Vec<String> = samples(s).into_iter().chain(cut_by_length(s)).map(|line| format!("\n  {line}")).collect();
    let body = match s["part"].as_str() {
        Some(part) => format!("  part {part}: no figures until the same command runs without --shard"),
        None if s["comparisons"].is_array() => comparisons(&s["comparisons"]),
        None => figures(&s["figures"]),
    };
    format!("{}{}\n{body}", head(outputs), notes.concat())
}

fn figures(rows: &Value) -> String {
    let text = |v: &Value, key: &str| v[key].as_str().unwrap_or_default().to_owned();
    let rows: Vec<Vec<String>> = rows
        .as_array()
        .into_iter()
        .flatten()
        .map(|v| {
            vec![
                text(v, "bench"),
                text(v, "metric"),
                in_percent(v, "value"),
                format!("{}–{}", in_percent(v, "ci_low"), in_percent(v, "ci_high")),
                count(v, "n_problems").to_string(),
            ]
        })
        .collect();
    render(&["bench", "metric", "value %", "95 % interval", "problems"], &rows)
}

fn comparisons(rows: &Value) -> String {
    let text = |v: &Value, key: &str| v[key].as_str().unwrap_or_default().to_owned();
    let row = |v: &Value| {
        vec![
            text(v, "bench"),
            format!("{} − {}", text(v, "model"), text(v, "baseline")),
            in_percent(v, "baseline_value"),
            in_percent(v, "value"),
            format!("{:+.1}", 100.0 * number(v, "difference")),
            format!("{:+.1} … {:+.1}", 100.0 * number(v, "ci_low"), 100.0 * number(v, "ci_high")),
            format!("{:.4}", number(v, "p_value")),
            count(v, "n_problems").to_string(),
        ]
    };
    let rows: Vec<Vec<String>> = rows.as_array().into_iter().flatten().map(row).collect();
    render(&["bench", "compared", "from %", "to %", "difference", "95 % interval", "p", "problems"], &rows)
}

/// `rasft-eval report`: every run's accuracy, and its difference from the first.
pub fn report(summary: &Value) -> String {
    let text = |v: &Value, key: &str| v[key].as_str().unwrap_or_default().to_owned();
    let row = |line: &Value| {
        let (accuracy, against) = (&line["accuracy"], &line["against"]);
        let signed = |key: &str| format!("{:+.1}", 100.0 * number(against, key));
        let (difference, interval) = match against {
            Value::Null => (String::new(), String::new()),
            _ => (signed("difference"), format!("{} … {}", signed("ci_low"), signed("ci_high"))),
        };
        vec![
            text(line, "bench"),
            text(line, "run"),
            text(accuracy, "metric"),
            in_percent(accuracy, "value"),
            format!("{}–{}", in_percent(accuracy, "ci_low"), in_percent(accuracy, "ci_high")),
            difference,
            interval,
            count(accuracy, "n_problems").to_string(),
        ]
    };
    let lines = summary["side_by_side"].as_array().map(Vec::as_slice).unwrap_or_default();
    if lines.is_empty() {
        return String::new();
    }
    // Of all runs, also where a benchmark lacks it.
    let difference = format!("− {}", summary["runs"][0].as_str().unwrap_or_default());
    let header = ["bench", "run", "metric", "value %", "95 % interval", &difference, "95 % interval", "problems"];
    render(&header, &lines.iter().map(row).collect::<Vec<_>>())
}

fn in_percent(v: &Value, key: &str) -> String {
    format!("{:.1}", 100.0 * number(v, key))
}
