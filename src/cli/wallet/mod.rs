//! `hearth wallet ...`: connections, accounts and payments of the running server.

mod connect;
mod export;
mod pairing;
mod parse;
mod show;
mod state;
mod table;
mod test_backend;

use std::io::Write;
use std::path::Path;

use clap::{Args, Subcommand};

use super::admin_client::{self, CommandError};
use crate::pb::AdminConnection;
use crate::pb::admin::{
    ConnectionLogRequest, FundAccountRequest, ListAccountsRequest, ListConnectionsRequest, ListPaymentsRequest, MoveMoneyRequest,
    ResumeConnectionRequest, RevokeConnectionRequest, ShowConnectionRequest, WalletStateRequest,
};
pub(super) use test_backend::{TestBackendArgs, run as run_test_backend};

/// The commands.
#[derive(Subcommand, Debug)]
pub enum WalletCommand {
    /// Make a connection for an app and print its pairing code (shown once)
    Connect(connect::ConnectArgs),
    /// Grant what an app asks for by a nostr+walletauth:// link or a web address, after showing it
    Authorize(pairing::AuthorizeArgs),
    /// What apps ask for and wait for you to decide
    Pending(OutputArgs),
    /// Grant a request that waits, after showing it
    Approve(pairing::ApproveArgs),
    /// Decline a request that waits
    Decline(pairing::DeclineArgs),
    /// List the connections
    List(ListArgs),
    /// Show one connection: rights, budget, when it was last seen
    Show(NameArgs),
    /// End a connection for ever; its app is told UNAUTHORIZED
    Revoke(NameArgs),
    /// List the accounts and their balances
    Accounts(OutputArgs),
    /// Write money into an account (embedded wallet: it exists inside this hearth only)
    Fund(FundArgs),
    /// Move money from one account to another
    Move(MoveArgs),
    /// List payments and invoices, newest first
    Payments(PaymentsArgs),
    /// Write all transactions, as CSV or JSON
    Export(export::ExportArgs),
    /// What a connection asked for, what came of it and when it got its answers
    Log(LogArgs),
    /// Whether all is well: safe mode, alarms, payments under way, the back end
    Status(OutputArgs),
    /// Let a connection pay again that an alarm suspended
    Resume(NameArgs),
    /// Leave safe mode, after making sure that this is the right data directory
    Reconcile(ReconcileArgs),
    /// Check the wallet behind hearth ([wallet] in the configuration); moves no money unless told to
    TestBackend(TestBackendArgs),
}

/// How to print.
#[derive(Args, Debug)]
pub struct OutputArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Which connections.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Revoked ones too
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Which connection.
#[derive(Args, Debug)]
pub struct NameArgs {
    /// Name of the connection
    name: String,
    #[command(flatten)]
    output: OutputArgs,
}

/// How much for whom.
#[derive(Args, Debug)]
pub struct FundArgs {
    /// Name of the account
    account: String,
    /// Millisatoshi, digits only
    #[arg(value_parser = parse::amount_msat)]
    amount_msat: u64,
    #[command(flatten)]
    output: OutputArgs,
}

/// From where to where.
#[derive(Args, Debug)]
pub struct MoveArgs {
    /// Name of the account that gives
    from: String,
    /// Name of the account that gets
    to: String,
    /// Millisatoshi, digits only
    #[arg(value_parser = parse::amount_msat)]
    amount_msat: u64,
    #[command(flatten)]
    output: OutputArgs,
}

/// Which log.
#[derive(Args, Debug)]
pub struct LogArgs {
    /// Name of the connection
    name: String,
    /// How many requests
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=2000))]
    limit: u32,
    #[command(flatten)]
    output: OutputArgs,
}

/// Whether to ask.
#[derive(Args, Debug)]
pub struct ReconcileArgs {
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Which payments.
#[derive(Args, Debug)]
pub struct PaymentsArgs {
    /// Only of this account
    #[arg(long)]
    account: Option<String>,
    /// How many
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=200))]
    limit: u32,
    /// How many of the newest to leave out
    #[arg(long, default_value_t = 0)]
    offset: u32,
    /// Unpaid invoices and failed payments too
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs a command against the server on a data directory.
pub async fn run(command: WalletCommand, data: &Path, out: &mut (dyn Write + Send)) -> Result<(), CommandError> {
    let mut client = admin_client::connect(data).await?;
    match command {
        WalletCommand::Connect(args) => connect::run(args, &mut client, out).await,
        WalletCommand::Authorize(args) => pairing::authorize(args, &mut client, out).await,
        WalletCommand::Pending(args) => pairing::pending(args, &mut client, out).await,
        WalletCommand::Approve(args) => pairing::approve(args, &mut client, out).await,
        WalletCommand::Decline(args) => pairing::decline(args, &mut client, out).await,
        WalletCommand::List(_) | WalletCommand::Show(_) | WalletCommand::Revoke(_) | WalletCommand::Log(_) => {
            connections(command, &mut client, out).await
        }
        WalletCommand::Accounts(_) | WalletCommand::Fund(_) | WalletCommand::Move(_) | WalletCommand::Payments(_) => {
            money(command, &mut client, out).await
        }
        WalletCommand::Export(args) => export::run(args, &mut client, out).await,
        WalletCommand::Status(_) | WalletCommand::Resume(_) | WalletCommand::Reconcile(_) => {
            health(command, &mut client, out).await
        }
        // Needs no server; the caller runs it.
        WalletCommand::TestBackend(_) => Err(CommandError::Usage("test-backend asks the wallet itself, not a server".to_owned())),
    }
}

/// Connections that are there.
async fn connections(
    command: WalletCommand,
    client: &mut AdminConnection,
    out: &mut (dyn Write + Send),
) -> Result<(), CommandError> {
    match command {
        WalletCommand::List(args) => {
            let reply = client.list_connections(ListConnectionsRequest { include_revoked: args.all }).await?.into_inner();
            if args.output.json { print_json(out, &reply) } else { show::connections(out, &reply.connections) }
        }
        WalletCommand::Show(args) => {
            let reply = client.show_connection(ShowConnectionRequest { name: args.name }).await?.into_inner();
            if args.output.json { print_json(out, &reply) } else { show::connection(out, &reply) }
        }
        WalletCommand::Revoke(args) => {
            let reply = client.revoke_connection(RevokeConnectionRequest { name: args.name }).await?.into_inner();
            if args.output.json {
                return print_json(out, &reply);
            }
            writeln!(out, "revoked \"{}\"; its app is told UNAUTHORIZED from now on", table::clean(&reply.name))?;
            for name in &reply.revoked_with {
                writeln!(out, "revoked \"{}\", which it had made", table::clean(name))?;
            }
            Ok(())
        }
        WalletCommand::Log(args) => {
            let wish = ConnectionLogRequest { name: args.name, limit: args.limit };
            let reply = client.connection_log(wish).await?.into_inner();
            if args.output.json { print_json(out, &reply) } else { state::log(out, &reply) }
        }
        _ => Ok(()),
    }
}

/// Accounts and payments.
async fn money(command: WalletCommand, client: &mut AdminConnection, out: &mut (dyn Write + Send)) -> Result<(), CommandError> {
    match command {
        WalletCommand::Accounts(args) => {
            let reply = client.list_accounts(ListAccountsRequest {}).await?.into_inner();
            if args.json { print_json(out, &reply) } else { show::accounts(out, &reply.accounts) }
        }
        WalletCommand::Fund(args) => {
            let wish = FundAccountRequest { account: args.account, amount_msat: args.amount_msat };
            let reply = client.fund_account(wish).await?.into_inner();
            if args.output.json {
                return print_json(out, &reply);
            }
            let name = table::clean(&reply.name);
            Ok(writeln!(out, "account \"{name}\" has {} msat now (inside this hearth only)", table::grouped(reply.balance_msat))?)
        }
        WalletCommand::Move(args) => {
            let wish = MoveMoneyRequest { from: args.from, to: args.to, amount_msat: args.amount_msat };
            let reply = client.move_money(wish).await?.into_inner();
            if args.output.json {
                return print_json(out, &reply);
            }
            let both = [reply.from.unwrap_or_default(), reply.to.unwrap_or_default()];
            show::accounts(out, &both)
        }
        WalletCommand::Payments(args) => {
            let wish = ListPaymentsRequest {
                account: args.account.unwrap_or_default(),
                limit: args.limit,
                offset: args.offset,
                include_unpaid: args.all,
            };
            let reply = client.list_payments(wish).await?.into_inner();
            if args.output.json { print_json(out, &reply) } else { show::payments(out, &reply) }
        }
        _ => Ok(()),
    }
}

/// Whether all is well, and what to do if not.
async fn health(command: WalletCommand, client: &mut AdminConnection, out: &mut (dyn Write + Send)) -> Result<(), CommandError> {
    match command {
        WalletCommand::Status(args) => {
            let reply = client.wallet_state(WalletStateRequest {}).await?.into_inner();
            if args.json { print_json(out, &reply) } else { state::state(out, &reply) }
        }
        WalletCommand::Resume(args) => {
            let reply = client.resume_connection(ResumeConnectionRequest { name: args.name }).await?.into_inner();
            if args.output.json {
                return print_json(out, &reply);
            }
            Ok(writeln!(out, "\"{}\" may pay again", table::clean(&reply.name))?)
        }
        WalletCommand::Reconcile(args) => match state::reconcile(args.yes, client, out).await? {
            Some(reply) if args.output.json => print_json(out, &reply),
            Some(reply) => state::reconciled(out, &reply),
            None => Ok(writeln!(out, "nothing was changed")?),
        },
        _ => Ok(()),
    }
}

/// One line of JSON.
fn print_json<T: serde::Serialize>(out: &mut (dyn Write + Send), reply: &T) -> Result<(), CommandError> {
    let json = serde_json::to_string(reply).map_err(|error| CommandError::Failed(error.to_string()))?;
    Ok(writeln!(out, "{json}")?)
}
