//! A look into the store.

use rasft_cli::args::store::StoreCli;
use rasft_cli::{main_with, store_commands};
use std::process::ExitCode;

fn main() -> ExitCode {
    main_with::<StoreCli>(store_commands::run)
}
