//! Foreign formats and the synthetic world, as [`rasft_types::Problem`] rows; duplicates and contamination among them.
//!
//! Invariants: rows come out in source order; every record read is a problem, a listed reject or a listed repeat; an id
//! depends on domain, prompt and answer or tests alone. Deliberately absent: Parquet, models, answer checking, and the
//! network.

pub mod canonical;
pub mod contamination;
pub mod duplicates;
pub mod error;
pub mod formats;
pub mod gold;
pub mod id;
pub mod import;
pub mod record;
pub mod source;
pub mod synthetic;
pub mod words;

pub use contamination::{BenchIndex, Contamination};
pub use duplicates::{NearDuplicate, near_duplicates};
pub use error::{Class, ProblemsError, RowError};
pub use formats::Format;
pub use formats::jsonl::ColumnMap;
pub use gold::FinalAnswer;
pub use id::problem_id;
pub use import::{BadRows, ImportOptions, Imported, Reject, RepeatedRow, import, take};
