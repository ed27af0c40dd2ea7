//! The only place that writes stdout: one line, the path of the result, or one JSON object.

use crate::Failure;
use rasft_stages::Outputs;
use std::io::Write;
use std::path::Path;

/// Writes one line to stdout. A reader that went away is not a failure of ours.
pub fn line(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::runtime(format!("cannot write to stdout: {e}")))
        }
        _ => Ok(()),
    }
}

/// Reports a finished stage on stdout.
pub fn outputs(outputs: &Outputs, shown: &Path, as_json: bool) -> Result<(), Failure> {
    if !as_json {
        return line(&shown.display().to_string());
    }
    let object = serde_json::json!({
        "path": shown.display().to_string(),
        "stage": outputs.stage,
        "key": outputs.key,
        "hit": outputs.misses == 0,
        "hits": outputs.hits,
        "misses": outputs.misses,
        "rows": outputs.rows,
        "dry_run": outputs.dry_run,
        "summary": outputs.summary,
    });
    line(&object.to_string())
}
