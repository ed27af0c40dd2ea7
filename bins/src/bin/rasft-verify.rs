//! Rollouts to verdicts.

use rasft_cli::args::verify::{VerifyCli, VerifyCommand};
use rasft_cli::{answer, main_with, summaries};
use std::process::ExitCode;

fn main() -> ExitCode {
    main_with::<VerifyCli>(|session, cli| {
        if let Some(VerifyCommand::Answer(args)) = &cli.command {
            cli.args.refuse_before_answer()?;
            let policy = session.layer(&args.policy, "verify")?;
            return answer::run(args, &policy, session.common.json.unwrap_or(false));
        }
        let args = session.layer(&cli.args, "verify")?;
        let store = session.store()?;
        let (inputs, params) = args.resolve()?;
        let outputs = rasft_stages::verify::run(&inputs, &params, &session.ctx(&store)?)?;
        session.note(&summaries::verify(&outputs));
        session.report(&store, &outputs)
    })
}
