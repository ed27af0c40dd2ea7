//! Log lines on stderr.

use crate::common::{CommonArgs, LogFormat};
use crate::environment;
use tracing_subscriber::EnvFilter;

/// Installs the subscriber for this process. `RASFT_LOG` beats `-v` and `-q`.
pub fn init(common: &CommonArgs) {
    let level = match (common.quiet, common.verbose) {
        (true, _) => "error",
        (false, 0) => "warn,rasft=info",
        (false, 1) => "info,rasft=debug",
        (false, _) => "debug,rasft=trace",
    };
    let filter = environment::log_filter().unwrap_or_else(|| level.to_owned());
    let filter = EnvFilter::try_new(&filter).unwrap_or_else(|_| EnvFilter::new(level));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // A second call in one process (tests) finds a subscriber installed: that is no failure.
    let _installed = match common.log_format.unwrap_or(LogFormat::Text) {
        LogFormat::Text => builder.without_time().with_ansi(false).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}
