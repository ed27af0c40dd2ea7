//! `rasft-eval report`: one HTML file, without anything to load from elsewhere, that shows runs side by side.
//!
//! Figures come from the tables that `rasft-eval run` wrote; nothing is measured here.

use crate::Error;
use crate::eval_compare::{self, Params as CompareParams};
use crate::eval_run::{self, SUMMARY_FILE};
use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, context};
use rasft_data::DataSet;
use rasft_fs::write_atomic;
use rasft_types::{EvalComparisonRow, EvalSummaryRow};
use serde::Serialize;
use std::path::{Path, PathBuf};

const TEMPLATE: &str = include_str!("eval_report.html");
/// Bins of the histogram: a problem's share of correct samples, in tenths.
const BINS: usize = 10;

/// One run on one benchmark, as the page draws it.
#[derive(Debug, Serialize)]
struct Panel {
    run: String,
    model_id: String,
    figures: Vec<EvalSummaryRow>,
    /// Share of problems (0 to 1) by share of correct samples: 0, then tenths up to 1.
    histogram: Vec<f64>,
}

/// A benchmark with everything known of it.
#[derive(Debug, Serialize)]
struct Section {
    bench: String,
    n_problems: u32,
    panels: Vec<Panel>,
    comparisons: Vec<EvalComparisonRow>,
}

/// One run on one benchmark in the table that begins the page: accuracy, and what it is against the first run.
#[derive(Debug, Serialize)]
struct Line {
    bench: String,
    run: String,
    /// Accuracy with its interval.
    accuracy: EvalSummaryRow,
    /// The paired comparison; none for the first run, and for one on other problems.
    against: Option<EvalComparisonRow>,
}

/// Writes the page to `out`, whole or not at all, and says what is on it; a dry run writes nothing.
///
/// # Errors
/// Runs that cannot be read, or a disk that refuses. Runs on different problems are shown without a comparison.
pub fn run(runs: &[(String, PathBuf)], seed: u64, out: &Path, dry_run: bool) -> Result<serde_json::Value, Error> {
    let mut opened = Vec::new();
    for (name, path) in runs {
        let data = DataSet::open(path)?;
        eval_run::whole(name, &data)?;
        let data = data.non_empty()?;
        let summary = DataSet::open(path.join(SUMMARY_FILE))?.read_all::<EvalSummaryRow>()?;
        opened.push((name.clone(), eval_compare::accuracies(&data)?, summary));
    }
    let mut benches: Vec<&String> = opened.iter().flat_map(|(_, accuracies, _)| accuracies.keys()).collect();
    benches.sort();
    benches.dedup();
    let sections = benches.into_iter().map(|bench| section(bench, &opened, seed)).collect::<Vec<_>>();
    let lines: Vec<Line> = sections.iter().flat_map(lines).collect();
    let page = render(&sections, &lines)?;
    if !dry_run {
        write_atomic(out, page.as_bytes()).map_err(|e| Error::runtime(e.to_string()))?;
    }
    let names: Vec<&String> = runs.iter().map(|(name, _)| name).collect();
    let benches: Vec<&String> = sections.iter().map(|s| &s.bench).collect();
    Ok(serde_json::json!({ "runs": names, "benches": benches, "side_by_side": eval_run::to_json(&lines)? }))
}

type Opened = (String, eval_compare::Accuracies, Vec<EvalSummaryRow>);

fn section(bench: &str, opened: &[Opened], seed: u64) -> Section {
    let with_bench: Vec<&Opened> = opened.iter().filter(|(_, accuracies, _)| accuracies.contains_key(bench)).collect();
    let panels: Vec<Panel> = with_bench
        .iter()
        .map(|(run, accuracies, summary)| {
            let figures: Vec<EvalSummaryRow> = summary.iter().filter(|f| f.bench == bench).cloned().collect();
            let model_id = figures.first().map(|f| f.model_id.clone()).unwrap_or_default();
            Panel { run: run.clone(), model_id, figures, histogram: histogram(accuracies[bench].values()) }
        })
        .collect();
    let comparisons = with_bench.split_first().map_or(Vec::new(), |(baseline, others)| {
        let same_problems = |other: &&&Opened| other.1[bench].keys().eq(baseline.1[bench].keys());
        let row = |other: &&Opened| {
            let params = CompareParams { seed, ..CompareParams::default() };
            let (from, to) = ((baseline.0.as_str(), &baseline.1[bench]), (other.0.as_str(), &other.1[bench]));
            eval_compare::paired_row(bench, from, to, &params)
        };
        others.iter().filter(same_problems).map(row).collect()
    });
    let n_problems = panels.iter().flat_map(|p| p.figures.first()).map(|f| f.n_problems).max().unwrap_or(0);
    Section { bench: bench.to_owned(), n_problems, panels, comparisons }
}

/// A benchmark's lines: its average over samples, run by run.
fn lines(section: &Section) -> Vec<Line> {
    let line = |panel: &Panel| {
        let accuracy = panel.figures.iter().find(|figure| figure.metric.starts_with("avg@"))?.clone();
        let against = section.comparisons.iter().find(|c| c.model == panel.run).cloned();
        Some(Line { bench: section.bench.clone(), run: panel.run.clone(), accuracy, against })
    };
    section.panels.iter().filter_map(line).collect()
}

/// Bin 0 holds problems that were never solved; bin i those with a share in ((i−1)/10, i/10].
fn histogram<'a>(accuracies: impl Iterator<Item = &'a f64>) -> Vec<f64> {
    let mut counts = vec![0.0; BINS + 1];
    let mut n = 0.0f64;
    for accuracy in accuracies {
        counts[(accuracy * BINS as f64).ceil() as usize] += 1.0;
        n += 1.0;
    }
    counts.into_iter().map(|count| count / n.max(1.0)).collect()
}

fn render(sections: &[Section], lines: &[Line]) -> Result<String, Error> {
    let mut environment = Environment::new();
    // Names come from users and model directories: everything is escaped.
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.add_filter("percent", |value: f64| format!("{:.1}", 100.0 * value));
    environment.add_filter("signed", |value: f64| format!("{:+.1}", 100.0 * value));
    environment.add_filter("p", |value: f64| format!("{value:.4}"));
    let page = environment.template_from_str(TEMPLATE).and_then(|t| {
        t.render(context! { sections => Value::from(Serde(sections)), lines => Value::from(Serde(lines)) })
    });
    page.map_err(|e| Error::runtime(format!("cannot render the report: {e:#}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_hold_their_share_and_names_are_escaped() {
        assert_eq!(histogram([0.0, 0.0, 0.05, 1.0].iter())[..2], [0.5, 0.25]);
        assert_eq!(histogram([1.0].iter())[BINS], 1.0);
        let panel =
            Panel { run: "<script>".into(), model_id: String::new(), figures: Vec::new(), histogram: vec![1.0] };
        let section = Section { bench: "a & b".into(), n_problems: 1, panels: vec![panel], comparisons: Vec::new() };
        let page = render(&[section], &[]).expect("the template renders");
        assert!(page.contains("&lt;script&gt;") && page.contains("a &amp; b") && !page.contains("<script>"), "{page}");
    }
}
