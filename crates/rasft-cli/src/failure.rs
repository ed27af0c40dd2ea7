//! What a binary says and returns when it cannot go on.

use rasft_stages::Error as StageError;
use std::fmt;

/// Exit codes of every binary (README, "Exit codes").
pub mod exit_code {
    /// Failed at run time.
    pub const RUNTIME: u8 = 1;
    /// Wrong usage.
    pub const USAGE: u8 = 2;
    /// Bad input data.
    pub const BAD_INPUT: u8 = 3;
    /// Corrupt artifact.
    pub const CORRUPT: u8 = 4;
    /// Interrupted; partial work is kept.
    pub const INTERRUPTED: u8 = 130;
}

/// A message for people and the exit code that goes with it.
#[derive(Debug)]
pub struct Failure {
    /// Exit code.
    pub code: u8,
    /// What went wrong, with the remedy on its own line.
    pub message: String,
}

impl Failure {
    /// Wrong flags or configuration.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { code: exit_code::USAGE, message: message.into() }
    }

    /// Bad input data.
    pub fn bad_input(message: impl Into<String>) -> Self {
        Self { code: exit_code::BAD_INPUT, message: message.into() }
    }

    /// Anything that failed while running.
    pub fn runtime(message: impl Into<String>) -> Self {
        Self { code: exit_code::RUNTIME, message: message.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<StageError> for Failure {
    fn from(error: StageError) -> Self {
        use rasft_stages::ErrorClass as C;
        let code = match error.class() {
            C::Usage => exit_code::USAGE,
            C::BadInput => exit_code::BAD_INPUT,
            C::Corrupt => exit_code::CORRUPT,
            C::Runtime => exit_code::RUNTIME,
            C::Interrupted => exit_code::INTERRUPTED,
        };
        Self { code, message: render_chain(&error) }
    }
}

/// The error and its causes, each once, joined by colons.
fn render_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let line = next.to_string();
        if !text.contains(&line) {
            text.push_str(": ");
            text.push_str(&line);
        }
        cause = next.source();
    }
    text
}
