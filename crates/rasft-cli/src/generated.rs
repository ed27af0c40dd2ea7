//! Completions and man pages, made from the same description that parses the command line.

use crate::common::{CommonArgs, ManPages};
use crate::{Failure, output};
use clap::{Args, Command};
use clap_complete::Shell;

/// What was asked for instead of a run.
pub enum Wanted {
    /// Completions for this shell.
    Completions(Shell),
    /// Man pages.
    Man(ManPages),
}

/// What the command line asks for instead of a run, if it does, and of which subcommand. What a run needs is not needed
/// for that.
pub fn wanted(command: &Command) -> Option<(Wanted, Option<String>)> {
    let lenient = everywhere(command.clone(), &|c| c.subcommand_required(false).arg_required_else_help(false));
    let mut matches = lenient.ignore_errors(true).try_get_matches().ok()?;
    let subcommand = matches.subcommand_name().map(str::to_owned);
    // Global flags of a subcommand stand in the outer matches too.
    let shell = matches.remove_one::<Shell>("completions").map(Wanted::Completions);
    let wanted = shell.or_else(|| matches.remove_one::<ManPages>("man").map(Wanted::Man));
    wanted.map(|wanted| (wanted, subcommand))
}

/// Prints what was asked for, or writes it where it was asked for.
pub fn print(wanted: Wanted, mut command: Command, subcommand: Option<&str>) -> Result<(), Failure> {
    command = command.disable_help_subcommand(true);
    let failed = |e: std::io::Error| Failure::runtime(format!("cannot write the man page: {e}"));
    let mut text = Vec::new();
    match wanted {
        Wanted::Completions(shell) => {
            let name = command.get_name().to_owned();
            clap_complete::generate(shell, &mut command, name, &mut text);
        }
        Wanted::Man(ManPages::Into(dir)) => {
            std::fs::create_dir_all(&dir).map_err(failed)?;
            clap_mangen::generate_to(command, &dir).map_err(failed)?;
            return output::line(&dir.display().to_string());
        }
        Wanted::Man(ManPages::Print) => {
            command.build();
            let chosen = subcommand.and_then(|name| command.find_subcommand(name)).unwrap_or(&command).clone();
            clap_mangen::Man::new(chosen).render(&mut text).map_err(failed)?;
        }
    }
    output::line(String::from_utf8_lossy(&text).trim_end())
}

/// Long flags of a command and its subcommands, with `_` for `-`, each once.
pub fn argument_names(command: &Command) -> Vec<String> {
    let mut names: Vec<String> = command.get_arguments().map(|a| a.get_id().as_str().replace('-', "_")).collect();
    names.extend(command.get_subcommands().flat_map(argument_names));
    names.sort();
    names.dedup();
    names
}

/// Names of the flags that `A` adds to a command.
pub fn flag_names<A: Args>() -> Vec<String> {
    argument_names(&A::augment_args(Command::new("flags")))
}

/// Names of the flags common to all stages.
pub fn common_names() -> Vec<String> {
    flag_names::<CommonArgs>()
}

/// The command and its subcommands, each changed.
pub fn everywhere(command: Command, change: &dyn Fn(Command) -> Command) -> Command {
    change(command).mut_subcommands(|sub| everywhere(sub, change))
}
