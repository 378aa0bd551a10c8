//! The command line: one file a command. Only this folder prints.
//!
//! Exit codes: 0 it worked; 1 the command failed, and said why; 2 it was called wrongly; 3 no server is running (for commands
//! that need one); 74 a write to disk failed; 78 the configuration or the data directory is wrong.

pub mod admin_client;
mod bench;
mod check;
mod init;
mod passphrase;
mod serve;
mod stats;
pub mod wallet;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{Overrides, Settings, load};
use admin_client::CommandError;
use wallet::WalletCommand;

/// The command failed and said why.
const EXIT_FAILED: u8 = 1;
/// A write to disk failed (sysexits: EX_IOERR).
const EXIT_DISK: u8 = 74;
/// The configuration or the data directory is wrong (sysexits: EX_CONFIG).
const EXIT_CONFIG: u8 = 78;

/// What stands below the help.
const EXIT_CODES: &str = "Exit codes: 0 it worked; 1 it failed and said why; 2 wrong usage; 3 no server is running; \
                          74 a write to disk failed; 78 the configuration or the data directory is wrong.";

/// A Nostr relay with the wallet inside.
#[derive(Parser, Debug)]
#[command(name = "hearth", version, about, after_help = EXIT_CODES)]
struct Cli {
    /// Configuration file [default: config.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data directory, in place of the one in the configuration [default: data]
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one in a process")]
enum Command {
    /// Run the relay and its wallet; an empty data directory is initialised
    Serve(serve::ServeArgs),
    /// Tell everything that is wrong with the configuration and the data directory
    Check(check::CheckArgs),
    /// Make the data directory and its keys
    Init(init::InitArgs),
    /// Connections, accounts and payments of the running server
    #[command(subcommand)]
    Wallet(WalletCommand),
    /// What the running server is doing
    Stats(stats::StatsArgs),
    /// Load a relay or a wallet service and measure it
    #[command(subcommand)]
    Bench(Box<crate::bench::Workload>),
}

/// Runs the command that the arguments of the process name.
pub fn main() -> ExitCode {
    let Cli { config, data, command } = Cli::parse();
    let overrides = Overrides { config, data, ..Overrides::default() };
    let code = match command {
        Command::Serve(args) => serve::run(args, overrides),
        Command::Check(args) => check::run(&args, &overrides),
        Command::Init(args) => init::run(&args, &overrides),
        Command::Wallet(WalletCommand::TestBackend(args)) => test_backend(args, &overrides),
        Command::Wallet(command) => with_server(&overrides, async |data, out| wallet::run(command, &data, out).await),
        Command::Stats(args) => with_server(&overrides, async |data, out| stats::run(&args, &data, out).await),
        Command::Bench(workload) => bench::run(&workload),
    };
    ExitCode::from(code)
}

/// The settings, or all problems on stderr.
fn settings(overrides: &Overrides) -> Result<Settings, u8> {
    load(overrides).map_err(|problems| {
        complain(&problems.to_string());
        EXIT_CONFIG
    })
}

/// Runs a command that asks the running server. It needs to know no more of the configuration than the data directory.
fn with_server(
    overrides: &Overrides,
    command: impl AsyncFnOnce(PathBuf, &mut (dyn Write + Send)) -> Result<(), CommandError>,
) -> u8 {
    let data = match &overrides.data {
        Some(data) => data.clone(),
        None => match settings(overrides) {
            Ok(settings) => settings.data,
            Err(code) => return code,
        },
    };
    block_on(async |out| command(data, out).await)
}

/// Asks the configured wallet itself, whether a server runs or not.
fn test_backend(args: wallet::TestBackendArgs, overrides: &Overrides) -> u8 {
    match settings(overrides) {
        Ok(settings) => block_on(async |out| wallet::run_test_backend(args, &settings, out).await),
        Err(code) => code,
    }
}

/// Runs a command that talks to a server.
fn block_on(command: impl AsyncFnOnce(&mut (dyn Write + Send)) -> Result<(), CommandError>) -> u8 {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&error.to_string());
            return EXIT_FAILED;
        }
    };
    match runtime.block_on(command(&mut io::stdout())) {
        Ok(()) => 0,
        // Whoever reads the output has seen enough.
        Err(CommandError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => 0,
        Err(error) => {
            complain(&error.to_string());
            error.exit_code()
        }
    }
}

/// Prints lines for people, or JSON for scripts. That nobody reads it is no failure of the command.
fn say(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// Says on stderr what went wrong.
fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "hearth: {}", text.replace('\n', "\nhearth: "));
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_tree_of_commands_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_options_stand_before_or_after_the_command() {
        for line in
            ["hearth --data d --config c serve --listen 127.0.0.1:0", "hearth serve --config c --listen 127.0.0.1:0 --data d"]
        {
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();
            assert_eq!((cli.config, cli.data), (Some("c".into()), Some("d".into())), "{line}");
            assert!(matches!(cli.command, Command::Serve(_)));
        }
        assert!(Cli::try_parse_from(["hearth"]).is_err());
        assert!(Cli::try_parse_from(["hearth", "swerve"]).is_err());
    }
}
