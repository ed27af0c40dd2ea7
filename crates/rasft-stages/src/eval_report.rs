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
    /// The paired comparison with the first run; none for the first itself, nor where it lacks the benchmark or was measured
    /// on other problems.
    against: Option<EvalComparisonRow>,
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
}

/// One run on one benchmark in the table that begins the page: accuracy, and what it is against the first run.
#[derive(Debug, Serialize)]
struct Line {
    bench: String,
    run: String,
    /// Accuracy with its interval.
    accuracy: EvalSummaryRow,
    /// As in [`Panel`].
    against: Option<EvalComparisonRow>,
}

/// Writes the page to `out`, whole or not at all, and says what is on it; a dry run writes nothing.
///
/// # Errors
/// Two runs of one name, runs that cannot be read, or a disk that refuses. Runs on different problems are shown without a
/// comparison.
pub fn run(runs: &[(String, PathBuf)], seed: u64, out: &Path, dry_run: bool) -> Result<serde_json::Value, Error> {
    let mut opened = Vec::new();
    let names: Vec<&str> = runs.iter().map(|(name, _)| name.as_str()).collect();
    eval_compare::distinct(&names)?;
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
    let baseline = names.first().copied().unwrap_or_default();
    let page = render(baseline, &sections, &lines)?;
    if !dry_run {
        write_atomic(out, page.as_bytes()).map_err(|e| Error::runtime(e.to_string()))?;
    }
    let benches: Vec<&String> = sections.iter().map(|s| &s.bench).collect();
    Ok(serde_json::json!({ "runs": names, "benches": benches, "side_by_side": eval_run::to_json(&lines)? }))
}

type Opened = (String, eval_compare::Accuracies, Vec<EvalSummaryRow>);

fn section(bench: &str, opened: &[Opened], seed: u64) -> Section {
    let first = opened.first().and_then(|(name, accuracies, _)| Some((name.as_str(), accuracies.get(bench)?)));
    let panel = |(i, (run, accuracies, summary)): (usize, &Opened)| {
        let own = accuracies.get(bench)?;
        let figures: Vec<EvalSummaryRow> = summary.iter().filter(|f| f.bench == bench).cloned().collect();
        let model_id = figures.first().map(|f| f.model_id.clone()).unwrap_or_default();
        let against = first.filter(|(_, of_first)| i > 0 && of_first.keys().eq(own.keys())).map(|first| {
            let params = CompareParams { seed, ..CompareParams::default() };
            eval_compare::paired_row(bench, first, (run, own), &params)
        });
        Some(Panel { run: run.clone(), against, model_id, figures, histogram: histogram(own.values()) })
    };
    let panels: Vec<Panel> = opened.iter().enumerate().filter_map(panel).collect();
    let n_problems = panels.iter().flat_map(|p| p.figures.first()).map(|f| f.n_problems).max().unwrap_or(0);
    Section { bench: bench.to_owned(), n_problems, panels }
}

/// A benchmark's lines: its average over samples, run by run.
fn lines(section: &Section) -> Vec<Line> {
    let line = |panel: &Panel| {
        let accuracy = panel.figures.iter().find(|figure| figure.metric.starts_with("avg@"))?.clone();
        Some(Line { bench: section.bench.clone(), run: panel.run.clone(), accuracy, against: panel.against.clone() })
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

/// The colour class of a comparison: on one side of 0, unless the interval is a point, which says nothing of chance.
fn side(low: f64, high: f64) -> &'static str {
    match (low, high) {
        _ if low >= high => "",
        _ if low > 0.0 => "up",
        _ if high < 0.0 => "down",
        _ => "",
    }
}

fn render(baseline: &str, sections: &[Section], lines: &[Line]) -> Result<String, Error> {
    let mut environment = Environment::new();
    // Names come from users and model directories: everything is escaped.
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.add_filter("percent", |value: f64| format!("{:.1}", 100.0 * value));
    environment.add_filter("signed", |value: f64| format!("{:+.1}", 100.0 * value));
    environment.add_filter("side", |row: Value| {
        let bound = |name: &str| row.get_attr(name).ok().and_then(|v| f64::try_from(v).ok()).unwrap_or(f64::NAN);
        side(bound("ci_low"), bound("ci_high"))
    });
    environment.add_filter("p", |value: f64| format!("{value:.4}"));
    let page = environment.template_from_str(TEMPLATE).and_then(|t| {
        t.render(context! { baseline, sections => Value::from(Serde(sections)), lines => Value::from(Serde(lines)) })
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
        let panel = Panel {
            run: "<script>".into(),
            against: None,
            model_id: String::new(),
            figures: Vec::new(),
            histogram: vec![1.0],
        };
        let section = Section { bench: "a & b".into(), n_problems: 1, panels: vec![panel] };
        let page = render("<b>", &[section], &[]).expect("the template renders");
        assert!(page.contains("&lt;script&gt;") && page.contains("a &amp; b") && !page.contains("<script>"), "{page}");
    }

    #[test]
    fn only_an_interval_that_varies_has_a_colour() {
        assert_eq!((side(0.1, 0.2), side(-0.2, -0.1), side(-0.1, 0.2)), ("up", "down", ""));
        assert_eq!((side(1.0, 1.0), side(-0.5, -0.5), side(0.0, 0.0)), ("", "", ""));
        let against = eval_compare::paired_row(
            "b",
            ("base", &[("p".to_owned(), 0.0), ("q".to_owned(), 0.0)].into()),
            ("model", &[("p".to_owned(), 1.0), ("q".to_owned(), 1.0)].into()),
            &CompareParams::default(),
        );
        let panel = |against| Panel {
            run: "r".into(),
            against: Some(against),
            model_id: String::new(),
            figures: Vec::new(),
            histogram: vec![1.0],
        };
        let page = |against| {
            let section = Section { bench: "b".into(), n_problems: 2, panels: vec![panel(against)] };
            render("base", &[section], &[]).expect("the template renders")
        };
        assert!(!page(against.clone()).contains("\"n up\""), "all differences are equal");
        assert!(page(EvalComparisonRow { ci_low: 0.5, ..against }).contains("\"n up\""));
    }
}
