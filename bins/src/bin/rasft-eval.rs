//! Models on benchmarks, and against each other.

use rasft_cli::args::eval::{EvalCli, EvalCommand};
use rasft_cli::{main_with, summaries};
use rasft_stages::{eval_compare, eval_report, eval_run};
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    main_with::<EvalCli>(|session, cli| {
        let store = session.store()?;
        let ctx = session.ctx(&store)?;
        let seed = session.common.seed();
        let outputs = match &cli.command {
            EvalCommand::Run(args) => {
                let (inputs, params) =
                    session.layer(args.as_ref(), "eval")?.resolve(seed, session.common.device.clone())?;
                eval_run::run(&inputs, &params, &ctx)?
            }
            EvalCommand::Compare(args) => {
                let (inputs, params) = session.layer(args, "eval")?.resolve(seed)?;
                eval_compare::run(&inputs, &params, &ctx)?
            }
            EvalCommand::Report(args) => {
                let out = session.common.out.clone().unwrap_or_else(|| PathBuf::from("report.html"));
                let runs = session.layer(args, "eval")?.resolve()?;
                let summary = eval_report::run(&runs, seed, &out, ctx.dry_run)?;
                session.note(&summaries::report(&summary));
                return session.report_file("report", &out, summary);
            }
        };
        session.note(&summaries::eval(&outputs));
        session.report(&store, &outputs)
    })
}
