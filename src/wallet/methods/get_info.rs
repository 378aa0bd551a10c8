//! `get_info`: who the node is and what this connection may ask for.

use serde::Serialize;

use super::Desk;
use crate::base::hex32::Hex32;
use crate::wallet::terms::Scheme;
use crate::wallet::wire::method::Method;
use crate::wallet::wire::notification::Notification;

/// The result.
#[derive(Serialize, Debug)]
pub struct Info {
    alias: String,
    color: String,
    pubkey: String,
    network: &'static str,
    block_height: u32,
    block_hash: Hex32,
    methods: Vec<&'static str>,
    notifications: Vec<&'static str>,
    extensions: Vec<&'static str>,
}

/// Answers. A client that still speaks NIP-04 may be one whose list of methods is closed, so it is only told of methods that such
/// clients know; everything else it finds in kind 13194.
pub fn run(desk: &Desk<'_>) -> Info {
    let node = desk.money.info();
    let offered = desk.offer.methods.iter();
    let shown = offered.filter(|method| desk.scheme == Scheme::Nip44 || method.is_known_to_old_clients());
    Info {
        alias: node.alias,
        color: node.color,
        pubkey: node.pubkey,
        network: node.network.as_str(),
        block_height: node.block_height,
        block_hash: node.block_hash,
        methods: shown.map(Method::as_str).collect(),
        notifications: desk.offer.notifications.iter().map(Notification::as_str).collect(),
        extensions: desk.offer.extensions(),
    }
}
