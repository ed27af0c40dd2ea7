//! The judge: which verifier a completion goes to, which filters it passes, and the one verdict that comes of it.
//!
//! Invariant: a wrong or unreadable answer is a verdict, never an error; an error means that a problem cannot be judged
//! at all. Whether a completion is correct does not depend on whether it is fit to be trained on.
//! Absent on purpose: files, and running model-written code.

/// Raised whenever a verdict would change for the same problem, completions and parameters; it stands in the key of
/// every result that verdicts shape.
pub const VERSION: u32 = 1;

mod gold;
mod judge;

pub use gold::{Gold, GoldSource, gold};
pub use judge::{JudgeError, JudgeParams, judge_group, judge_pair, judgeable, n_tokens};
pub use rasft_math::{Options, Report};
