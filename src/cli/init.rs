//! `hearth init`: makes the data directory and its keys. What is there already stays as it is.

use clap::Args;

use super::{EXIT_CONFIG, complain, say, settings};
use crate::app::data_dir::DataDir;
use crate::config::Overrides;

/// How to print.
#[derive(Args, Debug)]
pub(super) struct InitArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &InitArgs, overrides: &Overrides) -> u8 {
    let data = match settings(overrides) {
        Ok(settings) => DataDir::new(settings.data),
        Err(code) => return code,
    };
    let made = match data.make() {
        Ok(made) => made,
        Err(problems) => {
            complain(&problems.to_string());
            return EXIT_CONFIG;
        }
    };
    let directory = std::path::absolute(data.path()).unwrap_or_else(|_| data.path().to_owned());
    if args.json {
        say(&serde_json::json!({ "data": directory, "made": made.keys }).to_string());
    } else if made.keys.is_empty() {
        say(&format!("{} has its keys already; nothing was changed", directory.display()));
    } else {
        say(&format!("made {} in {}", made.keys.join(", "), directory.join("keys").display()));
        say("keep a copy of this folder in a safe place: whoever has it can spend, and without it nobody can");
    }
    0
}
