//! Log lines on stderr, as text or as JSON, and one line for a panic.
//!
//! The process has one log; it is set up once, by the command that serves. Parts only emit `tracing` events.

use std::panic::PanicHookInfo;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// How log lines look and which are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// A level, or directives such as `info,hearth::relay=debug`.
    pub level: String,
    /// How a line looks.
    pub format: Format,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: Format::Text }
    }
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The directives cannot be read.
    #[error("log level {level:?} cannot be read: {cause}")]
    Level {
        /// What stands in the configuration.
        level: String,
        /// What is wrong with it.
        cause: tracing_subscriber::filter::ParseError,
    },
    /// The process has a log already.
    #[error("the log is set up already: {0}")]
    Twice(#[from] TryInitError),
}

/// Whether directives can be read.
pub fn check_level(level: &str) -> Result<(), LogError> {
    filter(level).map(drop)
}

/// Starts the log of this process.
pub fn start(config: &Config) -> Result<(), LogError> {
    let builder = tracing_subscriber::fmt().with_env_filter(filter(&config.level)?).with_writer(std::io::stderr);
    match config.format {
        Format::Text => builder.with_ansi(false).finish().try_init()?,
        Format::Json => builder.json().flatten_event(true).finish().try_init()?,
    }
    Ok(())
}

/// Logs one line for a panic. Tasks are isolated from each other: a panic in one ends that task. Every other thread holds
/// state that nobody can carry on from (a writer in the middle of a batch), so there the process ends at once.
#[expect(clippy::disallowed_methods, reason = "a writer that panicked in the middle of a batch must not go on, nor be torn down")]
pub fn log_panics(is_task_thread: impl Fn(&str) -> bool + Send + Sync + 'static) {
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("unnamed");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(thread = name, place, reason = words(panic), "panic");
        if !is_task_thread(name) {
            std::process::abort();
        }
    }));
}

fn words<'a>(panic: &'a PanicHookInfo<'_>) -> &'a str {
    let payload = panic.payload();
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no words")
}

fn filter(level: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::builder().parse(level).map_err(|cause| LogError::Level { level: level.to_owned(), cause })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_directives_are_read_and_nonsense_is_named() {
        for good in ["info", "off", "warn,hearth::relay=debug"] {
            assert!(check_level(good).is_ok(), "{good}");
        }
        let words = check_level("hearth=loud").unwrap_err().to_string();
        assert!(words.contains("hearth=loud"), "{words}");
    }
}
