//! Asks for secrets at the terminal, without showing what is typed. Never from the command line: others can read that.

use std::io::{self, BufRead, IsTerminal, Write};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::app::keys::{PASSPHRASE_CHARS_MIN, Passphrase};
use crate::base::secret::Secret;

/// Longest line that is read.
const LINE_BYTES_MAX: u64 = 4_096;

/// Whether somebody can be asked.
pub(super) fn can_ask() -> bool {
    io::stdin().is_terminal()
}

/// Asks for the passphrase of a sealed seed.
pub(super) fn ask() -> io::Result<Passphrase> {
    Ok(Secret::new(hidden_line("passphrase of the wallet seed: ")?.to_string()))
}

/// Asks for a new passphrase, twice.
pub(super) fn ask_new() -> Result<Passphrase, String> {
    let first = hidden_line("new passphrase for the wallet seed: ").map_err(|error| error.to_string())?;
    if first.chars().count() < PASSPHRASE_CHARS_MIN {
        return Err(format!(
            "a passphrase has at least {PASSPHRASE_CHARS_MIN} characters; five or six unusual words are a good one"
        ));
    }
    let second = hidden_line("the same again: ").map_err(|error| error.to_string())?;
    if *first != *second {
        return Err("these were two different passphrases; nothing was changed".to_owned());
    }
    Ok(Secret::new(first.to_string()))
}

/// A line of standard input that is a secret; at a terminal it is asked for and not shown.
pub(super) fn hidden_line(prompt: &str) -> io::Result<Zeroizing<String>> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return read_line();
    }
    let mut stderr = io::stderr();
    write!(stderr, "{prompt}")?;
    stderr.flush()?;
    let line = {
        let _hidden = Hidden::start()?;
        read_line()
    };
    writeln!(stderr)?;
    line
}

fn read_line() -> io::Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(String::with_capacity(512));
    io::Read::take(io::stdin().lock(), LINE_BYTES_MAX).read_line(&mut line)?;
    if line.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "nothing was typed"));
    }
    Ok(Zeroizing::new(line.trim_end_matches(['\n', '\r']).to_owned()))
}

/// While it lives, the terminal does not show what is typed.
struct Hidden(Termios);

impl Hidden {
    fn start() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        silent.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(io::stdin(), OptionalActions::Flush, &silent)?;
        Ok(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // A terminal that is gone shows nothing either.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}
