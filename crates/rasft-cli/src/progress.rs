//! Progress on stderr: bars on a terminal, a line every few seconds elsewhere.

use crate::common::ProgressMode;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rasft_stages::Progress;
use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// How a stage's progress is shown.
pub struct Reporter {
    mode: Shown,
    state: Mutex<State>,
}

#[derive(Clone, Copy, PartialEq)]
enum Shown {
    Bars,
    Lines,
    Nothing,
}

#[derive(Default)]
struct State {
    bar: Option<ProgressBar>,
    last_line: Option<Instant>,
}

impl Reporter {
    /// Chooses bars or lines by mode and by whether stderr is a terminal.
    pub fn new(mode: ProgressMode, quiet: bool) -> Self {
        let mode = match mode {
            _ if quiet => Shown::Nothing,
            ProgressMode::None => Shown::Nothing,
            ProgressMode::Plain => Shown::Lines,
            ProgressMode::Auto if std::io::stderr().is_terminal() => Shown::Bars,
            ProgressMode::Auto => Shown::Lines,
        };
        Self { mode, state: Mutex::new(State::default()) }
    }

    fn with_state(&self, act: impl FnOnce(&mut State)) {
        // A poisoned lock only means that another thread panicked while drawing.
        act(&mut self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }
}

impl Progress for Reporter {
    fn start(&self, label: &str, total: u64, unit: &str) {
        if self.mode == Shown::Nothing {
            return;
        }
        let bar = match self.mode {
            Shown::Bars => ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(8)),
            _ => ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden()),
        };
        let template = format!("{{prefix:<12}} {{wide_bar}} {{pos}}/{{len}} {unit}  {{per_sec}}  ETA {{eta}}  {{msg}}");
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style);
        }
        bar.set_prefix(label.to_owned());
        self.with_state(|s| *s = State { bar: Some(bar), last_line: Some(Instant::now()) });
    }

    fn advance(&self, n: u64, message: &str) {
        self.with_state(|s| {
            let Some(bar) = &s.bar else { return };
            bar.inc(n);
            if !message.is_empty() {
                bar.set_message(message.to_owned());
            }
            let due = s.last_line.is_none_or(|t| t.elapsed() >= PLAIN_EVERY);
            if self.mode == Shown::Lines && due {
                s.last_line = Some(Instant::now());
                eprintln!(
                    "{}: {}/{} · {:.0} s left · {}",
                    bar.prefix(),
                    bar.position(),
                    bar.length().unwrap_or(0),
                    bar.eta().as_secs_f64(),
                    bar.message()
                );
            }
        });
    }

    fn finish(&self) {
        self.with_state(|s| {
            if let Some(bar) = s.bar.take() {
                bar.finish_and_clear();
            }
        });
    }
}
