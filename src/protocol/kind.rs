//! Kinds of events and what a relay does with each range (NIP-01).

/// How long an event of a kind lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// Kept as it is.
    Regular,
    /// Only the newest of a public key and kind is kept.
    Replaceable,
    /// Never stored.
    Ephemeral,
    /// Only the newest of a public key, kind and `d` tag is kept.
    Addressable,
}

/// Profile metadata.
pub const METADATA: u16 = 0;
/// Contact list.
pub const CONTACTS: u16 = 3;
/// Deletion request (NIP-09).
pub const DELETION: u16 = 5;
/// Repost (NIP-18).
pub const REPOST: u16 = 6;
/// Generic repost (NIP-18).
pub const GENERIC_REPOST: u16 = 16;
/// Client authentication (NIP-42): never stored, never sent on.
pub const AUTH: u16 = 22_242;
/// Wallet service info (NIP-47).
pub const WALLET_INFO: u16 = 13_194;
/// Wallet request (NIP-47).
pub const WALLET_REQUEST: u16 = 23_194;
/// Wallet response (NIP-47).
pub const WALLET_RESPONSE: u16 = 23_195;
/// Wallet notification, NIP-04 encrypted (NIP-47).
pub const WALLET_NOTIFICATION_NIP04: u16 = 23_196;
/// Wallet notification, NIP-44 encrypted (NIP-47).
pub const WALLET_NOTIFICATION: u16 = 23_197;

/// The class of a kind.
pub const fn class(kind: u16) -> Class {
    match kind {
        METADATA | CONTACTS | 10_000..=19_999 => Class::Replaceable,
        20_000..=29_999 => Class::Ephemeral,
        30_000..=39_999 => Class::Addressable,
        _ => Class::Regular,
    }
}

/// Whether a kind belongs to NIP-47: its events are only shown to filters that name what they want.
pub const fn is_wallet(kind: u16) -> bool {
    matches!(kind, WALLET_INFO | WALLET_REQUEST..=WALLET_NOTIFICATION)
}
