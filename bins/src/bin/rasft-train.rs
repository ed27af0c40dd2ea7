//! A mixture to a checkpoint.

use rasft_cli::args::train::TrainCli;
use rasft_cli::{main_with, summaries};
use std::process::ExitCode;

fn main() -> ExitCode {
    main_with::<TrainCli>(|session, cli| {
        let args = session.layer(&cli.args, "train")?.settle_alternatives(&cli.args);
        let store = session.store()?;
        let (inputs, params) = args.resolve(session.common.seed(), session.common.device.clone())?;
        let outputs = rasft_stages::train::run(&inputs, &params, &session.ctx(&store)?)?;
        session.note(&summaries::train(&outputs));
        session.report(&store, &outputs)
    })
}
