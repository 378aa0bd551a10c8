//! `hearth init`: makes the data directory and its keys. What is there already stays as it is.

use clap::Args;

use super::{EXIT_CONFIG, EXIT_FAILED, complain, passphrase, say, settings};
use crate::app::data_dir::{DataDir, Made};
use crate::app::keys::{self, Birth, Passphrase, words};
use crate::base::secret::Secret;
use crate::config::resolve::KeySettings;
use crate::config::{Overrides, Settings};

/// How the keys are made.
#[derive(Args, Debug)]
pub(super) struct InitArgs {
    /// Seal the wallet seed with a passphrase: asked for, or read from wallet.passphrase_file or the credential hearth-passphrase
    #[arg(long)]
    seal: bool,
    /// Restore the wallet seed from its 24 backup words: asked for, or one line on standard input
    #[arg(long)]
    from_words: bool,
    /// Show the backup words of the seed that is there
    #[arg(long, conflicts_with_all = ["from_words", "seal"])]
    show_words: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What went wrong, and the exit code that says of what kind it is.
struct Failure(String, u8);

impl From<crate::config::Problems> for Failure {
    fn from(problems: crate::config::Problems) -> Self {
        Self(problems.to_string(), EXIT_CONFIG)
    }
}

pub(super) fn run(args: &InitArgs, overrides: &Overrides) -> u8 {
    let settings = match settings(overrides) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    match make(args, &settings) {
        Ok(()) => 0,
        Err(Failure(words, code)) => {
            complain(&words);
            code
        }
    }
}

fn make(args: &InitArgs, settings: &Settings) -> Result<(), Failure> {
    let data = DataDir::new(settings.data.clone()).with_credentials(settings.keys.credentials.clone());
    if args.show_words {
        return show_words(args, &data, &settings.keys);
    }
    let place = data.seed_place();
    if args.from_words
        && let Some(place) = &place
    {
        let words = format!("{} is there already and is never overwritten; move it away first", place.path.display());
        return Err(Failure(words, EXIT_FAILED));
    }
    let seed = if args.from_words { Some(read_words()?) } else { None };
    let passphrase = match (&place, args.seal) {
        (Some(place), false) if place.is_sealed => known_passphrase(&settings.keys)?,
        (_, true) => Some(new_passphrase(&settings.keys)?),
        _ => None,
    };
    let is_sealed_later = args.seal && place.is_some();
    let made = data.make(&Birth { seed, seal: args.seal, passphrase: passphrase.clone() })?;
    if is_sealed_later && let Some(passphrase) = &passphrase {
        data.seal(passphrase)?;
    }
    tell(args, &data, &made, is_sealed_later);
    Ok(())
}

fn tell(args: &InitArgs, data: &DataDir, made: &Made, is_sealed_later: bool) {
    let directory = std::path::absolute(data.path()).unwrap_or_else(|_| data.path().to_owned());
    let words = made.words.as_ref().map(Secret::expose);
    if args.json {
        let sealed = data.seed_place().is_some_and(|place| place.is_sealed);
        return say(&serde_json::json!({ "data": directory, "made": made.keys, "sealed": sealed, "words": words }).to_string());
    }
    if is_sealed_later {
        say("the wallet seed is sealed now; without its passphrase it does not open");
    } else if made.keys.is_empty() {
        return say(&format!("{} has its keys already; nothing was changed", directory.display()));
    } else {
        say(&format!("made {} in {}", made.keys.join(", "), directory.join("keys").display()));
        say("keep a copy of this folder in a safe place: whoever has it can spend, and without it nobody can");
    }
    if let Some(words) = words {
        say("");
        say("Backup words of the wallet seed. Write them on paper, in this order; they bring all keys back");
        say("(hearth init --from-words). Whoever reads them owns this wallet.");
        say("");
        say(&table(words));
    }
}

fn show_words(args: &InitArgs, data: &DataDir, settings: &KeySettings) -> Result<(), Failure> {
    let passphrase = match data.seed_place() {
        Some(place) if place.is_sealed => known_passphrase(settings)?,
        _ => None,
    };
    let words = data.words(passphrase.as_ref())?;
    if args.json {
        say(&serde_json::json!({ "words": words.expose() }).to_string());
    } else {
        say(&table(words.expose()));
    }
    Ok(())
}

/// Four numbered words a line.
fn table(words: &str) -> String {
    let words: Vec<&str> = words.split(' ').collect();
    let rows = words.chunks(4).enumerate().map(|(row, words)| {
        let cells = words.iter().enumerate().map(|(at, word)| format!("{:>2} {word:<10}", row * 4 + at + 1));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    });
    rows.collect::<Vec<_>>().join("\n")
}

fn read_words() -> Result<Secret<[u8; 32]>, Failure> {
    let line = passphrase::hidden_line("the 24 backup words, in one line (they are not shown): ");
    let line = line.map_err(|error| Failure(format!("no backup words: {error}"), EXIT_FAILED))?;
    words::seed(&line).map_err(|error| Failure(error.to_string(), EXIT_FAILED))
}

/// The passphrase of a seed that is sealed.
fn known_passphrase(settings: &KeySettings) -> Result<Option<Passphrase>, Failure> {
    match keys::passphrase(settings)? {
        Some((found, _)) => Ok(Some(found)),
        None if passphrase::can_ask() => passphrase::ask().map(Some).map_err(|error| Failure(error.to_string(), EXIT_FAILED)),
        None => Ok(None),
    }
}

/// The passphrase that a seed is to be sealed with.
fn new_passphrase(settings: &KeySettings) -> Result<Passphrase, Failure> {
    match keys::passphrase(settings)? {
        Some((found, _)) => Ok(found),
        None if passphrase::can_ask() => passphrase::ask_new().map_err(|words| Failure(words, EXIT_FAILED)),
        None => {
            let words = "there is no passphrase to seal with: name a file (0600) that holds it in wallet.passphrase_file, or run this at a terminal";
            Err(Failure(words.to_owned(), EXIT_FAILED))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_in_numbered_rows_of_four() {
        let words: Vec<String> = (1..=24).map(|number| format!("word{number}")).collect();
        let table = table(&words.join(" "));
        assert_eq!(table.lines().count(), 6);
        assert_eq!(table.lines().next(), Some(" 1 word1        2 word2        3 word3        4 word4"));
        assert!(table.ends_with("24 word24"));
    }
}
