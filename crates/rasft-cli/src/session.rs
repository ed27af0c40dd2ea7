//! From `main` to a running stage: parse, layer, open the store, run, report.

use crate::common::{CommonArgs, ProgressMode, meaningless};
use crate::config::{self, ConfigFile};
use crate::failure::exit_code;
use crate::generated::common_names;
use crate::progress::Reporter;
use crate::{Failure, environment, experiment, generated, logging, output, summaries};
use clap::{Arg, ArgMatches, Command, CommandFactory, Parser};
use rasft_stages::{Ctx, MAX_SHARDS, Outputs, ShardOf};
use rasft_store::Store;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

/// Most threads; far above any machine, far below what an operating system refuses.
const MAX_JOBS: usize = 1024;

/// Set by the first Ctrl-C; the second ends the process at once.
static CANCELLED: AtomicBool = AtomicBool::new(false);

/// A command line with the common flags in it.
pub trait Cli: Parser {
    /// The common flags as parsed.
    fn common(&self) -> &CommonArgs;
}

/// What a binary needs while it runs.
pub struct Session {
    /// Common flags, layered over `[common]`.
    pub common: CommonArgs,
    config: Option<ConfigFile>,
    reporter: Reporter,
}

/// Parses the command line, runs `body` and turns its result into an exit code.
pub fn main_with<C: Cli>(body: impl FnOnce(&Session, &C) -> Result<(), Failure>) -> ExitCode {
    let command = described::<C>();
    let parsed = command.clone().try_get_matches();
    let name = |matches: &ArgMatches| match matches.subcommand_name() {
        Some(subcommand) => format!("{} {subcommand}", command.get_name()),
        None => command.get_name().to_owned(),
    };
    let result = match generated::wanted(&command) {
        Some((wanted, subcommand)) => generated::print(wanted, command.clone(), subcommand.as_deref()),
        None => {
            let typed =
                parsed.and_then(|m| Ok((name(&m), C::from_arg_matches(&m).map_err(|e| e.format(&mut C::command()))?)));
            match typed {
                Ok((name, cli)) => Session::open(&cli, &name).and_then(|session| body(&session, &cli)),
                Err(error) => {
                    // Help and version are answers, not failures; clap knows which.
                    let code = if error.use_stderr() { exit_code::USAGE } else { 0 };
                    let _closed_pipe = error.print();
                    return ExitCode::from(code);
                }
            }
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(failure.code)
        }
    }
}

/// The command line of a binary, without the common flags that mean nothing to it in its help.
fn described<C: CommandFactory>() -> Command {
    let command = C::command();
    let program = command.get_name().to_owned();
    let common: Vec<Arg> = command.get_arguments().filter(|arg| arg.is_global_set()).cloned().collect();
    let command = command.mut_subcommands(|sub| {
        let flags = meaningless(&format!("{program} {}", sub.get_name()));
        // A subcommand's own flag stands in the way of the global one of the same name.
        let hidden =
            common.iter().filter(|arg| flags.contains(&arg.get_id().as_str())).map(|arg| arg.clone().hide(true));
        sub.args(hidden)
    });
    let command = meaningless(&program).iter().fold(command, |c, flag| c.mut_arg(*flag, |arg| arg.hide(true)));
    generated::everywhere(command, &|c| c.mut_args(config::only_finite))
}

impl Session {
    fn open<C: Cli>(cli: &C, command: &str) -> Result<Self, Failure> {
        let mut flags = cli.common().clone();
        for flag in meaningless(command) {
            if flags.take(flag) {
                return Err(Failure::usage(format!(
                    "--{} means nothing to `{command}`\nhint: leave it out; in [common] of an experiment file it stands for the stages that know it",
                    flag.replace('_', "-")
                )));
            }
        }
        let config = flags.config.as_deref().map(ConfigFile::read).transpose()?;
        let mut common = flags.clone();
        if let Some(file) = &config {
            experiment::check(file)?;
            common = config::overlay(
                &flags,
                file.table("common", None, &common_names())?,
                &file.path().display().to_string(),
            )?;
            // These never stand in a file.
            common.config.clone_from(&flags.config);
            common.section.clone_from(&flags.section);
            common.verbose = flags.verbose;
            common.quiet = flags.quiet;
            for flag in meaningless(command) {
                common.take(flag);
            }
        }
        logging::init(&common);
        install_interrupt_handler();
        start_threads(common.jobs)?;
        let reporter = Reporter::new(common.progress.unwrap_or(ProgressMode::Auto), common.quiet);
        Ok(Self { common, config, reporter })
    }

    /// Stage flags over `[table]` and `[table.SECTION]`.
    pub fn layer<A: Serialize + DeserializeOwned>(&self, flags: &A, table: &str) -> Result<A, Failure> {
        let (configured, origin) = match &self.config {
            Some(file) => {
                let known = experiment::known_keys(table);
                (file.table(table, self.common.section.as_deref(), &known)?, file.path().display().to_string())
            }
            None => (serde_json::Map::new(), "command line".to_owned()),
        };
        config::overlay(flags, configured, &origin)
    }

    /// Opens the store.
    pub fn store(&self) -> Result<Store, Failure> {
        let root = self.common.store.clone().unwrap_or_else(environment::store_root);
        Store::open(&root).map_err(|e| Failure::from(rasft_stages::Error::from(e)))
    }

    /// The context in which a stage runs.
    pub fn ctx<'a>(&'a self, store: &'a Store) -> Result<Ctx<'a>, Failure> {
        let shard = self.common.shard.as_deref().map(str::parse::<ShardOf>).transpose().map_err(Failure::usage)?;
        if let Some(n) = self.common.shards.filter(|n| !(1..=MAX_SHARDS).contains(n)) {
            return Err(Failure::usage(format!("--shards {n}: expected 1 to {MAX_SHARDS}")));
        }
        Ok(Ctx {
            store,
            out: self.common.out.clone(),
            shards: self.common.shards,
            shard,
            force: self.common.force.unwrap_or(false),
            dry_run: self.common.dry_run.unwrap_or(false),
            skip_bad_rows: self.common.on_bad_row == Some(crate::common::OnBadRow::Skip),
            progress: &self.reporter,
            cancel: &CANCELLED,
            hub: environment::hub(),
            base: self.common.base.clone(),
            host: environment::host(),
        })
    }

    /// Makes the `--out` view and writes the one line on stdout.
    pub fn report(&self, store: &Store, outputs: &Outputs) -> Result<(), Failure> {
        let as_json = self.common.json.unwrap_or(false);
        // Also where only errors are wanted: a result of a part looks like one of the whole.
        if let Some(warning) = summaries::incomplete(outputs) {
            eprintln!("{warning}");
        }
        if outputs.dry_run {
            self.note(&format!(
                "{}: key {} · {} of {} blocks cached · {}",
                outputs.stage,
                outputs.key,
                outputs.hits,
                outputs.hits + outputs.misses,
                summaries::left(outputs)
            ));
            self.note(&summaries::nearest(&outputs.summary));
            return output::outputs(outputs, &outputs.path, as_json);
        }
        let shown: PathBuf = match (&self.common.out, &outputs.entry) {
            (Some(out), Some(entry)) => {
                store.view(entry, out).map_err(|e| Failure::from(rasft_stages::Error::from(e)))?;
                out.clone()
            }
            _ => outputs.path.clone(),
        };
        output::outputs(outputs, &shown, as_json)
    }

    /// [`Session::report`] for a file that is no result of the store.
    pub fn report_file(&self, stage: &str, path: &Path, summary: serde_json::Value) -> Result<(), Failure> {
        let dry_run = self.common.dry_run.unwrap_or(false);
        if dry_run {
            self.note(&format!("{stage}: {} would be written", path.display()));
        }
        if !self.common.json.unwrap_or(false) {
            return output::line(&path.display().to_string());
        }
        let path = path.display().to_string();
        output::line(
            &serde_json::json!({ "path": path, "stage": stage, "dry_run": dry_run, "summary": summary }).to_string(),
        )
    }

    /// One line for people on stderr, unless `--quiet`.
    pub fn note(&self, text: &str) {
        if !self.common.quiet && !text.is_empty() {
            eprintln!("{}", text.trim_end());
        }
    }
}

fn start_threads(jobs: Option<usize>) -> Result<(), Failure> {
    let Some(n) = jobs else { return Ok(()) };
    if !(1..=MAX_JOBS).contains(&n) {
        return Err(Failure::usage(format!("--jobs {n}: expected 1 to {MAX_JOBS}")));
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build_global();
    pool.map_err(|e| Failure::runtime(format!("cannot start {n} threads: {e}")))
}

fn install_interrupt_handler() {
    let handler = || {
        if CANCELLED.swap(true, Ordering::SeqCst) {
            std::process::exit(i32::from(exit_code::INTERRUPTED));
        }
        eprintln!("interrupted: stopping after what is under way (again to stop at once)");
    };
    // Without a handler Ctrl-C still works, only less gently.
    if let Err(error) = ctrlc::set_handler(handler) {
        tracing::debug!("no interrupt handler: {error}");
    }
}
