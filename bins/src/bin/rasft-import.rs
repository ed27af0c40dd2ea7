//! Foreign data to problems.

use rasft_cli::args::import::ImportCli;
use rasft_cli::{main_with, summaries};
use std::process::ExitCode;

fn main() -> ExitCode {
    main_with::<ImportCli>(|session, cli| {
        let args = session.layer(&cli.args, "import")?;
        let store = session.store()?;
        let (inputs, params) = args.resolve(session.common.seed())?;
        let outputs = rasft_stages::import::run(&inputs, &params, &session.ctx(&store)?)?;
        session.note(&summaries::import(&outputs));
        session.report(&store, &outputs)
    })
}
