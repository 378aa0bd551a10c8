//! `hearth serve`: runs the relay and its wallet.

use clap::Args;
use tokio::runtime::{Builder, Runtime};

use super::{EXIT_CONFIG, EXIT_DISK, EXIT_FAILED, complain, passphrase, say, settings};
use crate::app::data_dir::DataDir;
use crate::app::keys;
use crate::app::run::{Ended, Signals};
use crate::app::wallet::WalletError;
use crate::app::{App, StartError, process};
use crate::config::{Overrides, Settings};
use crate::telemetry::log;
use crate::wallet::backend::lnd;
use crate::wallet::money;

/// Threads of the runtime have this name. A panic there ends a task; on any other thread it ends the process.
const TASK_THREAD: &str = "hearth-task";

/// After so many tasks a thread looks which sockets are ready. Tasks that check signatures run for a millisecond: with tokio's 61 of them
/// a new message would wait that many.
const LOOK_EVERY: u32 = 16;

/// What goes before the configuration.
#[derive(Args, Debug)]
pub(super) struct ServeArgs {
    /// Address and port for clients; port 0 takes any free one
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Address and port of health, metrics and status
    #[arg(long, value_name = "ADDR")]
    admin_listen: Option<String>,
}

pub(super) fn run(args: ServeArgs, overrides: Overrides) -> u8 {
    let overrides = Overrides { listen: args.listen, admin_listen: args.admin_listen, ..overrides };
    let mut settings = match settings(&overrides) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    if let Err(words) = ask_for_passphrase(&mut settings) {
        complain(&words);
        return EXIT_CONFIG;
    }
    if let Err(error) = log::start(&settings.log) {
        complain(&error.to_string());
        return EXIT_CONFIG;
    }
    log::log_panics(|thread| thread == TASK_THREAD || thread == "main");
    process::prepare(settings.server.connections_max);
    let runtime = match Builder::new_multi_thread().thread_name(TASK_THREAD).event_interval(LOOK_EVERY).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&error.to_string());
            return EXIT_FAILED;
        }
    };
    let code = serve(&runtime, settings);
    // What still runs has nothing to finish: after an orderly stop it waits for nobody, after a disk error it must not go on.
    runtime.shutdown_background();
    code
}

/// Only a sealed seed whose passphrase lies nowhere is asked about, and only where somebody can be asked.
fn ask_for_passphrase(settings: &mut Settings) -> Result<(), String> {
    let data = DataDir::new(settings.data.clone()).with_credentials(settings.keys.credentials.clone());
    let is_sealed = data.seed_place().is_some_and(|place| place.is_sealed);
    let is_known = keys::passphrase(&settings.keys).map_err(|problems| problems.to_string())?.is_some();
    if is_sealed && !is_known && passphrase::can_ask() {
        settings.keys.typed = Some(passphrase::ask().map_err(|error| error.to_string())?);
    }
    Ok(())
}

fn serve(runtime: &Runtime, settings: Settings) -> u8 {
    runtime.block_on(async {
        let started = async {
            let signals = Signals::catch()?;
            App::start(settings).await.map(|(app, addresses)| (signals, app, addresses))
        };
        // In a box: the start needs much more room than what follows.
        let (signals, app, addresses) = match Box::pin(started).await {
            Ok(started) => started,
            Err(error) => {
                complain(&error.to_string());
                return start_code(&error);
            }
        };
        say(&format!("hearth is serving at ws://{}/ (admin http://{})", addresses.public, addresses.admin));
        match Box::pin(app.run(signals)).await {
            Ended::InOrder => 0,
            Ended::AtOnce => EXIT_FAILED,
            Ended::DiskFailed => EXIT_DISK,
        }
    })
}

fn start_code(error: &StartError) -> u8 {
    match error {
        StartError::Wallet(WalletError::Money(money::OpenError::Write(_))) => EXIT_DISK,
        // The node may be back in a minute: whoever restarts services is to try again.
        StartError::Wallet(WalletError::Lnd(lnd::OpenError::FirstContact { .. })) => EXIT_FAILED,
        StartError::Data(_) | StartError::Store(_) | StartError::Wallet(_) => EXIT_CONFIG,
        StartError::Bind(_) | StartError::Admin(_) | StartError::System(_) => EXIT_FAILED,
    }
}
