//! From `main` to a running stage: parse, layer, open the store, run, report.

use crate::common::{CommonArgs, ProgressMode};
use crate::config::{self, ConfigFile};
use crate::failure::exit_code;
use crate::progress::Reporter;
use crate::{Failure, environment, logging, output, summaries};
use clap::{Command, CommandFactory, Parser};
use rasft_stages::{Ctx, Outputs, ShardOf};
use rasft_store::Store;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

/// Tables an experiment file may have.
const TABLES: &[&str] = &["common", "pipeline", "import", "score", "rollout", "verify", "train", "eval", "store"];

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
    known: Vec<String>,
    reporter: Reporter,
}

/// Parses the command line, runs `body` and turns its result into an exit code.
pub fn main_with<C: Cli>(body: impl FnOnce(&Session, &C) -> Result<(), Failure>) -> ExitCode {
    let cli = match C::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers, not failures; clap knows which.
            let code = if error.use_stderr() { exit_code::USAGE } else { 0 };
            let _closed_pipe = error.print();
            return ExitCode::from(code);
        }
    };
    match print_generated::<C>(cli.common())
        .and_then(|done| if done { Ok(()) } else { Session::open::<C>(&cli).and_then(|s| body(&s, &cli)) })
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(failure.code)
        }
    }
}

/// Completions and man pages come from the same command description.
fn print_generated<C: CommandFactory>(common: &CommonArgs) -> Result<bool, Failure> {
    let mut command = C::command();
    let name = command.get_name().to_owned();
    let mut text = Vec::new();
    if let Some(shell) = common.completions {
        clap_complete::generate(shell, &mut command, name, &mut text);
    } else if common.man {
        clap_mangen::Man::new(command)
            .render(&mut text)
            .map_err(|e| Failure::runtime(format!("cannot render the man page: {e}")))?;
    } else {
        return Ok(false);
    }
    output::line(String::from_utf8_lossy(&text).trim_end())?;
    Ok(true)
}

impl Session {
    fn open<C: Cli>(cli: &C) -> Result<Self, Failure> {
        let flags = cli.common();
        let config = flags.config.as_deref().map(ConfigFile::read).transpose()?;
        let mut common = flags.clone();
        if let Some(file) = &config {
            file.check_tables(TABLES)?;
            common = config::overlay(
                flags,
                file.table("common", None, &common_names())?,
                &file.path().display().to_string(),
            )?;
            // These never stand in a file.
            common.config.clone_from(&flags.config);
            common.section.clone_from(&flags.section);
            common.verbose = flags.verbose;
            common.quiet = flags.quiet;
        }
        logging::init(&common);
        install_interrupt_handler();
        if let Some(jobs) = common.jobs {
            if jobs == 0 {
                return Err(Failure::usage("--jobs must be at least 1"));
            }
            rayon::ThreadPoolBuilder::new()
                .num_threads(jobs)
                .build_global()
                .map_err(|e| Failure::runtime(format!("cannot start {jobs} threads: {e}")))?;
        }
        let reporter = Reporter::new(common.progress.unwrap_or(ProgressMode::Auto), common.quiet);
        // Common keys have a table of their own: in a stage's table they would be read by nobody.
        let common_names = common_names();
        let known = argument_names(&C::command()).into_iter().filter(|name| !common_names.contains(name)).collect();
        Ok(Self { common, config, known, reporter })
    }

    /// Stage flags over `[table]` and `[table.SECTION]`.
    pub fn layer<A: Serialize + DeserializeOwned>(&self, flags: &A, table: &str) -> Result<A, Failure> {
        let (configured, origin) = match &self.config {
            Some(file) => {
                (file.table(table, self.common.section.as_deref(), &self.known)?, file.path().display().to_string())
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
        if self.common.shards == Some(0) {
            return Err(Failure::usage("--shards must be at least 1"));
        }
        Ok(Ctx {
            store,
            shards: self.common.shards,
            shard,
            force: self.common.force.unwrap_or(false),
            dry_run: self.common.dry_run.unwrap_or(false),
            skip_bad_rows: self.common.on_bad_row == Some(crate::common::OnBadRow::Skip),
            progress: &self.reporter,
            cancel: &CANCELLED,
            base: self.common.base.clone(),
            host: environment::host(),
        })
    }

    /// Makes the `--out` view and writes the one line on stdout.
    pub fn report(&self, store: &Store, outputs: &Outputs) -> Result<(), Failure> {
        let as_json = self.common.json.unwrap_or(false);
        if outputs.dry_run {
            self.note(&format!(
                "{}: key {} · {} of {} shards cached · {} to compute",
                outputs.stage,
                outputs.key,
                outputs.hits,
                outputs.hits + outputs.misses,
                outputs.misses
            ));
            self.note(&summaries::nearest(outputs));
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

    /// One line for people on stderr, unless `--quiet`.
    pub fn note(&self, text: &str) {
        if !self.common.quiet && !text.is_empty() {
            eprintln!("{}", text.trim_end());
        }
    }
}

fn common_names() -> Vec<String> {
    argument_names(&<CommonArgs as clap::Args>::augment_args(Command::new("common")))
}

/// Every long flag of a command and its subcommands, with `_` for `-`.
fn argument_names(command: &Command) -> Vec<String> {
    let mut names: Vec<String> = command.get_arguments().map(|a| a.get_id().as_str().replace('-', "_")).collect();
    names.extend(command.get_subcommands().flat_map(argument_names));
    names.sort();
    names.dedup();
    names
}

fn install_interrupt_handler() {
    let handler = || {
        if CANCELLED.swap(true, Ordering::SeqCst) {
            std::process::exit(i32::from(exit_code::INTERRUPTED));
        }
        eprintln!("interrupted: finishing the current batch, then stopping (again to stop at once)");
    };
    // Without a handler Ctrl-C still works, only less gently.
    if let Err(error) = ctrlc::set_handler(handler) {
        tracing::debug!("no interrupt handler: {error}");
    }
}
