//! Connections that an app asks for: look at a request, grant it, decline it. Nothing is granted before the owner says so.

use std::io::Write;

use clap::Args;

use super::table::{self, clean, date, grouped};
use super::{OutputArgs, parse, print_json, state};
use crate::cli::admin_client::CommandError;
use crate::pb::AdminConnection;
use crate::pb::admin::{
    ApproveReply, ApproveRequest, AskRequest, DeclineRequest, ListPendingReply, ListPendingRequest, PendingConnection,
};

/// What an app gave to be granted.
#[derive(Args, Debug)]
pub struct AuthorizeArgs {
    /// nostr+walletauth://... or https://.../connections/new?... as the app shows it
    link: String,
    /// Grant it without asking
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    terms: Terms,
    #[command(flatten)]
    output: OutputArgs,
}

/// Which request.
#[derive(Args, Debug)]
pub struct ApproveArgs {
    /// Its number, as the page and `hearth wallet pending` show it
    id: String,
    /// Grant it without asking
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    terms: Terms,
    #[command(flatten)]
    output: OutputArgs,
}

/// Which request.
#[derive(Args, Debug)]
pub struct DeclineArgs {
    /// Its number
    id: String,
    #[command(flatten)]
    output: OutputArgs,
}

/// What the owner adds; it can only make the grant smaller.
#[derive(Args, Debug)]
struct Terms {
    /// What you call the connection [default: as the app calls itself]
    #[arg(long)]
    name: Option<String>,
    /// Account it spends from [default: main, or a new one if the app asks for that]
    #[arg(long)]
    account: Option<String>,
    /// Most it may spend in one period, fees included; the smaller one counts if the app names a budget too
    #[arg(long, value_parser = parse::amount_msat)]
    budget_msat: Option<u64>,
    /// When the budget is whole again, if the app names no budget
    #[arg(long, value_parser = ["never", "daily", "weekly", "monthly", "yearly"])]
    renewal: Option<String>,
    /// Time zone in which periods begin [default: UTC]
    #[arg(long)]
    time_zone: Option<String>,
    /// Most of one payment
    #[arg(long, value_parser = parse::amount_msat)]
    max_payment_msat: Option<u64>,
    /// Refuse NIP-04, which old apps need
    #[arg(long)]
    no_nip04: bool,
}

type Out<'a> = &'a mut (dyn Write + Send);

/// Takes a link in, shows what it asks for, and grants it if the owner says so.
pub(super) async fn authorize(args: AuthorizeArgs, client: &mut AdminConnection, out: Out<'_>) -> Result<(), CommandError> {
    let asked = client.ask_connection(AskRequest { link: args.link }).await?.into_inner();
    decide(asked, args.yes, args.terms, args.output.json, client, out).await
}

/// Grants a request that waits.
pub(super) async fn approve(args: ApproveArgs, client: &mut AdminConnection, out: Out<'_>) -> Result<(), CommandError> {
    let waiting = client.list_pending(ListPendingRequest {}).await?.into_inner().pending;
    let Some(asked) = waiting.into_iter().find(|pending| pending.id == args.id) else {
        let words = format!(
            "no request {} is waiting; they end after ten minutes. List them with:  hearth wallet pending",
            clean(&args.id)
        );
        return Err(CommandError::Failed(words));
    };
    decide(asked, args.yes, args.terms, args.output.json, client, out).await
}

async fn decide(
    asked: PendingConnection,
    is_sure: bool,
    terms: Terms,
    json: bool,
    client: &mut AdminConnection,
    out: Out<'_>,
) -> Result<(), CommandError> {
    if !is_sure {
        show(out, &asked)?;
        if !state::confirmed(out, "Grant this?")? {
            return Ok(writeln!(out, "nothing was granted; the request waits until {} (UTC)", date(asked.ends_at_s))?);
        }
    }
    let wish = ApproveRequest {
        id: asked.id,
        name: terms.name,
        account: terms.account,
        budget_msat: terms.budget_msat,
        renewal: terms.renewal.unwrap_or_default(),
        time_zone: terms.time_zone.unwrap_or_default(),
        payment_max_msat: terms.max_payment_msat,
        no_nip04: terms.no_nip04,
    };
    let reply = client.approve_connection(wish).await?.into_inner();
    if json { print_json(out, &reply) } else { granted(out, &reply) }
}

fn granted(out: Out<'_>, reply: &ApproveReply) -> Result<(), CommandError> {
    writeln!(out, "granted: \"{}\" spends from account \"{}\"", clean(&reply.name), clean(&reply.account))?;
    writeln!(out, "wallet key          {}", reply.wallet_pubkey)?;
    if !reply.return_to.is_empty() {
        writeln!(out, "the app goes on at  {}", table::line(&reply.return_to))?;
    }
    if reply.listens_elsewhere {
        writeln!(out, "The app listens on another relay than this hearth's. It finds the answer only if it reads this one too.")?;
    }
    Ok(())
}

/// Declines a request that waits.
pub(super) async fn decline(args: DeclineArgs, client: &mut AdminConnection, out: Out<'_>) -> Result<(), CommandError> {
    let reply = client.decline_connection(DeclineRequest { id: args.id }).await?.into_inner();
    if args.output.json { print_json(out, &reply) } else { Ok(writeln!(out, "declined {}", clean(&reply.id))?) }
}

/// Everything that an app asks for. Strangers wrote it: nothing of it can move the cursor.
fn show(out: Out<'_>, asked: &PendingConnection) -> Result<(), CommandError> {
    let budget = match asked.budget_msat {
        Some(msat) => format!("{} msat, fees included, renewed {}", grouped(msat), asked.renewal),
        None => "NONE: it may spend all that its account holds, unless you set one with --budget-msat".to_owned(),
    };
    let rows = [
        ("request", asked.id.clone()),
        ("app", if asked.name.is_empty() { "(it gives no name)".to_owned() } else { clean(&asked.name) }),
        ("app key", asked.client_pubkey.clone()),
        ("needs", asked.methods.join(" ")),
        ("would like", asked.optional_methods.join(" ")),
        ("wants to be told", asked.notifications.join(" ")),
        ("budget", budget),
        ("account", if asked.isolated { "a new one of its own" } else { "main, unless you name one with --account" }.to_owned()),
        ("ends (UTC)", asked.expires_at_s.map_or_else(|| "never".to_owned(), date)),
        ("returns to", table::line(&asked.return_to)),
        ("listens on", table::line(&asked.relays.join(" "))),
        ("asked from", if asked.from.is_empty() { "this command line".to_owned() } else { asked.from.clone() }),
    ];
    for (label, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
        writeln!(out, "{label:<20}{value}")?;
    }
    if asked.listens_elsewhere {
        writeln!(out, "The app listens on another relay than this hearth's. It finds the answer only if it reads this one too.")?;
    }
    Ok(())
}

/// Lists what waits.
pub(super) async fn pending(args: OutputArgs, client: &mut AdminConnection, out: Out<'_>) -> Result<(), CommandError> {
    let reply: ListPendingReply = client.list_pending(ListPendingRequest {}).await?.into_inner();
    if args.json {
        return print_json(out, &reply);
    }
    if reply.pending.is_empty() {
        return Ok(writeln!(out, "no app is waiting")?);
    }
    let mut is_first = true;
    for asked in &reply.pending {
        if !std::mem::take(&mut is_first) {
            writeln!(out)?;
        }
        show(out, asked)?;
        writeln!(out, "{:<20}{}", "waits until (UTC)", date(asked.ends_at_s))?;
    }
    Ok(())
}
