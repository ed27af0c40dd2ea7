//! `rasft-store`: every command prints its finding on stdout, for people or, with `--json`, for programs.

use crate::args::store::{StoreCli, StoreCommand};
use crate::config::ConfigFile;
use crate::failure::exit_code;
use crate::{Failure, Session, experiment, explain, output, tables};
use rasft_stages::Error;
use rasft_store::{LineageNode, Store, StoreError};
use serde::Serialize;
use std::path::Path;

/// Runs one command.
pub fn run(session: &Session, cli: &StoreCli) -> Result<(), Failure> {
    match &cli.command {
        StoreCommand::Config { file, key, default } => return config(file, key.as_deref(), default.as_deref()),
        StoreCommand::Explain { command, .. } if !command.is_empty() => return explain::command(session, command),
        _ => {}
    }
    let store = session.store()?;
    let json = session.common.json.unwrap_or(false);
    match &cli.command {
        StoreCommand::Ls => ls(&store, json),
        StoreCommand::Show { what } => {
            let details = checked(store.show(what))?;
            print_json(&serde_json::json!({
                "path": details.entry.path, "manifest": details.entry.manifest, "key_params": details.params,
            }))
        }
        StoreCommand::Explain { what, other, .. } => {
            let what = what.as_deref().unwrap_or_default();
            explain::entry(&checked(store.explain_entry(what, other.as_deref()))?, json)
        }
        StoreCommand::Verify => verify(&store, json),
        StoreCommand::Lineage { what } => lineage(&checked(store.lineage(what))?, json),
        StoreCommand::Gc { keep, apply } => gc(&store, keep, *apply, json),
        StoreCommand::Config { .. } => Ok(()),
    }
}

fn checked<T>(result: Result<T, StoreError>) -> Result<T, Failure> {
    result.map_err(|e| Failure::from(Error::from(e)))
}

fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Failure::runtime(format!("cannot write JSON: {e}")))?;
    output::line(&text)
}

fn ls(store: &Store, json: bool) -> Result<(), Failure> {
    let entries = checked(store.ls())?;
    if json {
        return print_json(&entries);
    }
    let row = |e: &rasft_store::Listed| {
        vec![e.place.clone(), e.key.to_string()[..12].to_owned(), e.rows.to_string(), bytes(e.bytes)]
    };
    let unfinished = |p: &rasft_store::Partial| {
        vec![p.place.clone(), p.key.to_string()[..12].to_owned(), "unfinished".to_owned(), bytes(p.bytes)]
    };
    let mut rows: Vec<Vec<String>> = entries.iter().map(row).collect();
    rows.extend(checked(store.partials())?.iter().map(unfinished));
    output::line(tables::render(&["stage", "key", "rows", "size"], &rows).trim_end())
}

fn verify(store: &Store, json: bool) -> Result<(), Failure> {
    let found = checked(store.verify())?;
    if json {
        print_json(&found)?;
    } else {
        output::line(&format!(
            "{} entries, {} files, {}: {} damaged",
            found.entries,
            found.files,
            bytes(found.bytes),
            found.corrupt.len()
        ))?;
    }
    if found.corrupt.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = found
        .corrupt
        .iter()
        .map(|c| format!("{}: expected {}, actual {}", c.file.display(), c.expected, c.actual))
        .collect();
    Err(Failure { code: exit_code::CORRUPT, message: format!("damaged files:\n{}", lines.join("\n")) })
}

fn lineage(node: &LineageNode, json: bool) -> Result<(), Failure> {
    if json {
        return print_json(node);
    }
    let mut lines = Vec::new();
    draw(node, 0, &mut lines);
    output::line(&lines.join("\n"))
}

fn draw(node: &LineageNode, depth: usize, lines: &mut Vec<String>) {
    let role = if node.role.is_empty() { String::new() } else { format!("{} ← ", node.role) };
    let what = node.place.as_deref().unwrap_or("from outside");
    let path = node.path.as_ref().map_or(String::new(), |p| format!("  {}", p.display()));
    let again = if node.repeated { "  (as above)" } else { "" };
    lines.push(format!("{}{role}{what} {}{path}{again}", "  ".repeat(depth), &node.hash[..node.hash.len().min(12)]));
    for input in &node.inputs {
        draw(input, depth + 1, lines);
    }
}

fn gc(store: &Store, keep: &[String], apply: bool, json: bool) -> Result<(), Failure> {
    let plan = checked(store.gc_plan(keep))?;
    if json && !apply {
        return print_json(&plan);
    }
    let mut lines: Vec<String> =
        plan.delete.iter().map(|e| format!("{} {} {}", e.place, e.key, bytes(e.bytes))).collect();
    lines.extend(plan.partial.iter().map(|p| format!("{} {} {} unfinished", p.place, p.key, bytes(p.bytes))));
    lines.push(format!(
        "{} entries stay, {} go with {} unfinished runs ({}), {} stale staging directories",
        plan.keep.len(),
        plan.delete.len(),
        plan.partial.len(),
        bytes(plan.bytes()),
        plan.stale.len()
    ));
    output::line(&lines.join("\n"))?;
    if !apply {
        return output::line("nothing was removed; add --apply to remove what is listed");
    }
    let report = checked(store.gc_apply(&plan))?;
    output::line(&format!("removed {} entries, {} were busy", report.deleted, report.busy.len()))
}

fn config(file: &Path, key: Option<&str>, default: Option<&str>) -> Result<(), Failure> {
    let read = ConfigFile::read(file)?;
    experiment::check(&read)?;
    let Some(key) = key else { return output::line(&file.display().to_string()) };
    match (read.get(key).cloned(), default) {
        (Some(serde_json::Value::String(text)), _) => output::line(&text),
        (Some(other), _) => output::line(&other.to_string()),
        (None, Some(text)) => output::line(text),
        (None, None) => Err(Failure::usage(format!("{}: no key {key}", file.display()))),
    }
}

fn bytes(n: u64) -> String {
    match n {
        0..1_000 => format!("{n} B"),
        1_000..1_000_000 => format!("{:.1} kB", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", n as f64 / 1e6),
        _ => format!("{:.2} GB", n as f64 / 1e9),
    }
}
