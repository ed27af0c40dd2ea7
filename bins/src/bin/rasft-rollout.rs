//! Problems and a policy to rollouts.

use rasft_cli::args::rollout::RolloutCli;
use rasft_cli::{main_with, summaries};
use std::process::ExitCode;

fn main() -> ExitCode {
    main_with::<RolloutCli>(|session, cli| {
        let args = session.layer(&cli.args, "rollout")?.settle_samples(&cli.args);
        let store = session.store()?;
        let (inputs, params) = args.resolve(session.common.seed(), session.common.device.clone())?;
        let outputs = rasft_stages::rollout::run(&inputs, &params, &session.ctx(&store)?)?;
        session.note(&summaries::rollout(&outputs));
        session.report(&store, &outputs)
    })
}
