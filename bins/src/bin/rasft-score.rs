//! Difficulty, solvability and mixtures.

use rasft_cli::args::score::{ScoreCli, ScoreCommand};
use rasft_cli::{main_with, summaries};
use rasft_stages::{difficulty, mixture, solvability};
use std::process::ExitCode;

fn main() -> ExitCode {
    main_with::<ScoreCli>(|session, cli| {
        let store = session.store()?;
        let ctx = session.ctx(&store)?;
        let (seed, device) = (session.common.seed(), session.common.device.clone());
        let outputs = match &cli.command {
            ScoreCommand::Difficulty(args) => {
                let (inputs, params) = session.layer(args.as_ref(), "score")?.resolve(seed, device)?;
                difficulty::run(&inputs, &params, &ctx)?
            }
            ScoreCommand::Solvability(args) => {
                let (inputs, params) = session.layer(args.as_ref(), "score")?.resolve()?;
                solvability::run(&inputs, &params, &ctx)?
            }
            ScoreCommand::Mixture(args) => {
                let (inputs, params) = session.layer(args.as_ref(), "score")?.resolve(device)?;
                mixture::run(&inputs, &params, &ctx)?
            }
        };
        session.note(&summaries::score(&outputs));
        session.report(&store, &outputs)
    })
}
