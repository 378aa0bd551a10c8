//! What the wallet says about itself: figures, and whether all is well.

use crate::pb::admin::{Backend, RequestCount, WalletStateReply, WalletStats};
use crate::wallet::Wallet;
use crate::wallet::access::connection::Standing;

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// What the wallet says about itself.
pub fn wallet_stats(wallet: &Wallet) -> WalletStats {
    let now_s = wallet.answers().clock().now_s();
    let connections = wallet.answers().table().all();
    let active = connections.iter().filter(|hosted| hosted.profile.standing(now_s) == Standing::Active).count();
    let revoked = connections.iter().filter(|hosted| hosted.profile.revoked_at_s.is_some()).count();
    let accounts = wallet.money().accounts();
    let (status, (answers, bytes)) = (wallet.money().status(), wallet.answers().outbox().size());
    let requests = wallet.answers().stats().requests().into_iter().map(|line| RequestCount {
        method: line.method.to_owned(),
        result: line.result.to_owned(),
        count: line.count,
    });
    WalletStats {
        backend: wallet.money().backend_name().to_owned(),
        connections_active: count(active),
        connections_revoked: count(revoked),
        accounts: count(accounts.len()),
        balance_total_msat: accounts
            .iter()
            .map(|view| u64::try_from(view.balance_msat).unwrap_or(0))
            .fold(0, u64::saturating_add),
        held_msat: accounts.iter().map(|view| view.held.get()).fold(0, u64::saturating_add),
        requests: requests.collect(),
        requests_repeated: wallet.answers().stats().repeats(),
        requests_refused: wallet.answers().stats().refusals(),
        payments_unresolved: count(status.in_flight),
        invoices_open: count(status.open_invoices),
        alarms: status.alarm_count,
        safe_mode: status.safe_mode.unwrap_or_default(),
        answers_kept: count(answers),
        answers_kept_bytes: count(bytes),
    }
}

/// Whether all is well with the money.
pub(super) fn wallet_state(wallet: &Wallet) -> WalletStateReply {
    let (status, info, able) = (wallet.money().status(), wallet.money().info(), wallet.money().capabilities());
    let name = |id| wallet.answers().table().by_id(id).map(|hosted| hosted.profile.name.clone());
    let abilities = [("hold_invoices", able.hold_invoices), ("keysend", able.keysend), ("sign_message", able.sign_message)];
    let abilities = abilities.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name.to_owned());
    WalletStateReply {
        safe_mode: status.safe_mode.unwrap_or_default(),
        alarms: status.alarms,
        suspended: status.suspended.into_iter().filter_map(name).collect(),
        payments_unresolved: count(status.in_flight),
        held_msat: wallet.money().accounts().iter().map(|view| view.held.get()).fold(0, u64::saturating_add),
        invoices_open: count(status.open_invoices),
        journal_seq: status.seq,
        backend: Some(Backend {
            pubkey: info.pubkey,
            alias: info.alias,
            network: info.network.as_str().to_owned(),
            block_height: info.block_height,
            outside: able.outside,
            abilities: abilities.collect(),
            unreachable: wallet.money().backend_ready().err().map(|error| error.to_string()).unwrap_or_default(),
        }),
    }
}
