//! `hearth wallet connect`: makes a connection and shows its pairing code, the only time that it exists.

use std::io::Write;

use clap::Args;
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

use super::{OutputArgs, parse, print_json, table};
use crate::cli::admin_client::CommandError;
use crate::pb::AdminConnection;
use crate::pb::admin::{MakeConnectionReply, MakeConnectionRequest, WalletStateRequest};

/// What to grant.
#[derive(Args, Debug)]
pub struct ConnectArgs {
    /// What you call it: 1 to 64 printable characters
    name: String,
    /// Account it spends from and receives into, made if it is not there
    #[arg(long, default_value = "main")]
    account: String,
    /// Methods it may use, separated by commas [default: all]
    #[arg(long, value_delimiter = ',')]
    methods: Vec<String>,
    /// May take money and look, and spend nothing
    #[arg(long, conflicts_with = "methods")]
    receive_only: bool,
    /// What it is told without asking, separated by commas, or none [default: all]
    #[arg(long, value_delimiter = ',')]
    notifications: Option<Vec<String>>,
    /// Most it may spend in one period, fees included
    #[arg(long, value_parser = parse::amount_msat)]
    budget_msat: Option<u64>,
    /// When the budget is whole again
    #[arg(long, requires = "budget_msat", value_parser = ["never", "daily", "weekly", "monthly", "yearly"])]
    renewal: Option<String>,
    /// Time zone in which periods begin (IANA name, like Europe/Vienna) [default: UTC]
    #[arg(long, requires = "budget_msat")]
    time_zone: Option<String>,
    /// Most of one payment
    #[arg(long, value_parser = parse::amount_msat)]
    max_payment_msat: Option<u64>,
    /// When it ends: 90s, 15m, 12h, 30d or 8w from now
    #[arg(long, value_parser = parse::duration_s)]
    expires: Option<u64>,
    /// Refuse NIP-04, which old apps need
    #[arg(long)]
    no_nip04: bool,
    /// Relay address for the pairing code, in place of this hearth's own; may be given several times
    #[arg(long)]
    relay: Vec<String>,
    /// The app's own public key: then no secret is made here
    #[arg(long, value_name = "HEX")]
    client_pubkey: Option<String>,
    /// What the app gave you to open: nostrnwc://connect?appname=...&callback=...; prints the address to open in return
    #[arg(long, value_name = "LINK")]
    deep_link: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Makes the connection and prints it.
pub(super) async fn run(
    args: ConnectArgs,
    client: &mut AdminConnection,
    out: &mut (dyn Write + Send),
) -> Result<(), CommandError> {
    let notifications = args.notifications.as_ref().map(|names| names.iter().map(|name| name.trim().to_owned()));
    let notifications: Option<Vec<String>> =
        notifications.map(|names| names.filter(|name| !matches!(name.as_str(), "" | "none")).collect());
    let wish = MakeConnectionRequest {
        name: args.name,
        account: args.account,
        methods: args.methods.iter().map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect(),
        budget_msat: args.budget_msat,
        renewal: args.renewal.unwrap_or_default(),
        time_zone: args.time_zone.unwrap_or_default(),
        payment_max_msat: args.max_payment_msat,
        expires_in_s: args.expires,
        no_nip04: args.no_nip04,
        relays: args.relay,
        client_pubkey: args.client_pubkey.unwrap_or_default(),
        receive_only: args.receive_only,
        choose_notifications: notifications.is_some(),
        notifications: notifications.unwrap_or_default(),
        deep_link: args.deep_link.unwrap_or_default(),
    };
    let reply = client.make_connection(wish).await?.into_inner();
    if args.output.json {
        return print_json(out, &reply);
    }
    let backend = client.wallet_state(WalletStateRequest {}).await?.into_inner().backend;
    print(out, &reply, backend.is_none_or(|backend| !backend.outside))
}

fn print(out: &mut (dyn Write + Send), reply: &MakeConnectionReply, is_inside_only: bool) -> Result<(), CommandError> {
    if let Some(picture) = picture(&reply.uri) {
        writeln!(out, "{picture}")?;
    }
    writeln!(out, "{}", reply.uri)?;
    writeln!(out)?;
    writeln!(out, "\"{}\" spends from account \"{}\".", table::clean(&reply.name), table::clean(&reply.account))?;
    if !reply.shares_account_with.is_empty() {
        let others: Vec<String> = reply.shares_account_with.iter().map(|name| format!("\"{}\"", table::clean(name))).collect();
        writeln!(out, "That account was there before: its money is shared with {}.", others.join(", "))?;
    }
    if !reply.callback.is_empty() {
        writeln!(out, "To hand the code to the app, open:")?;
        writeln!(out, "{}", table::line(&reply.callback))?;
    }
    if !reply.uri.contains("secret=") {
        return Ok(writeln!(out, "The app brings its own key, so this code holds no secret.")?);
    }
    writeln!(out, "The code is shown this once and stored nowhere. Whoever has it may do what this connection may do.")?;
    if is_inside_only {
        writeln!(out, "This wallet settles only inside this hearth.")?;
    }
    Ok(())
}

/// The code as half blocks, light on dark as terminals are; `None` if it does not fit into a QR code.
fn picture(text: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    Some(code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pairing_code_fits_a_terminal() {
        let uri = format!("nostr+walletconnect://{}?relay=ws%3A%2F%2F127.0.0.1%3A7777&secret={}", "a".repeat(64), "b".repeat(64));
        let picture = picture(&uri).unwrap();
        assert!(picture.lines().count() <= 40);
        assert!(picture.lines().all(|line| line.chars().count() <= 80));
        assert!(picture.chars().all(|letter| " \u{2580}\u{2584}\u{2588}\n".contains(letter)));
    }

    #[test]
    fn the_json_has_exactly_the_promised_keys() {
        let reply = MakeConnectionReply { name: "a".to_owned(), ..MakeConnectionReply::default() };
        let mut out = Vec::new();
        print_json(&mut out, &reply).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "{\"name\":\"a\",\"account\":\"\",\"uri\":\"\",\"wallet_pubkey\":\"\",\"client_pubkey\":\"\",\"callback\":\"\",\"shares_account_with\":[]}\n"
        );
        assert!(!format!("{reply:?}").contains("uri"));
    }
}
