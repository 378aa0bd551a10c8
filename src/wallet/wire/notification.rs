//! Notifications (NIP-47 extension 02): their types, sets of them, and the plaintext of kinds 23196 and 23197.

use std::fmt;

use serde::Serialize;

use super::transaction::TransactionJson;
use crate::protocol::kind;
use crate::wallet::terms::Scheme;

/// What a client can be told without asking.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Notification {
    /// Money arrived.
    PaymentReceived,
    /// A payment was made.
    PaymentSent,
    /// The money for a hold invoice arrived and waits (extension 03).
    HoldInvoiceAccepted,
}

impl Notification {
    /// All of them, in the order in which they are listed.
    pub const ALL: [Self; 3] = [Self::PaymentReceived, Self::PaymentSent, Self::HoldInvoiceAccepted];

    /// The word on the wire (`notification_type`).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PaymentReceived => "payment_received",
            Self::PaymentSent => "payment_sent",
            Self::HoldInvoiceAccepted => "hold_invoice_accepted",
        }
    }

    /// The notification of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == name)
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of notifications.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct NotificationSet(u8);

impl NotificationSet {
    /// None.
    pub const EMPTY: Self = Self(0);

    /// All that are known.
    pub fn all() -> Self {
        Notification::ALL.into_iter().collect()
    }

    /// Whether it holds a notification.
    pub const fn has(self, one: Notification) -> bool {
        self.0 & one.bit() != 0
    }

    /// What is in both.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether it holds none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The same without one.
    #[must_use]
    pub const fn without(self, one: Notification) -> Self {
        Self(self.0 & !one.bit())
    }

    /// Its notifications in the order of [`Notification::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Notification> {
        Notification::ALL.into_iter().filter(move |one| self.has(*one))
    }

    /// The names, separated by spaces, as kind 13194 wants them.
    pub fn words(self) -> String {
        let names: Vec<&str> = self.iter().map(Notification::as_str).collect();
        names.join(" ")
    }
}

impl FromIterator<Notification> for NotificationSet {
    fn from_iter<I: IntoIterator<Item = Notification>>(all: I) -> Self {
        Self(all.into_iter().fold(0, |bits, one| bits | one.bit()))
    }
}

impl fmt::Debug for NotificationSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words())
    }
}

/// The kind that carries a notification in a scheme.
pub const fn kind_in(scheme: Scheme) -> u16 {
    match scheme {
        Scheme::Nip04 => kind::WALLET_NOTIFICATION_NIP04,
        Scheme::Nip44 => kind::WALLET_NOTIFICATION,
    }
}

#[derive(Serialize)]
struct Told<'a> {
    notification_type: &'static str,
    notification: Body<'a>,
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(flatten)]
    transaction: &'a TransactionJson,
    #[serde(skip_serializing_if = "Option::is_none")]
    settle_deadline: Option<u32>,
}

/// `{"notification_type": ..., "notification": {...}}`; the deadline is a block height (hold invoices only).
pub fn plaintext(notification: Notification, transaction: &TransactionJson, settle_deadline: Option<u32>) -> String {
    let told = Told { notification_type: notification.as_str(), notification: Body { transaction, settle_deadline } };
    // A struct of numbers, texts and raw JSON that was parsed before; an empty text is caught when it is sealed.
    serde_json::to_string(&told).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_have_names_in_one_order() {
        let set: NotificationSet = [Notification::PaymentSent, Notification::PaymentReceived].into_iter().collect();
        assert_eq!(set.words(), "payment_received payment_sent");
        assert_eq!(set.without(Notification::PaymentSent).words(), "payment_received");
        assert_eq!(NotificationSet::all().words(), "payment_received payment_sent hold_invoice_accepted");
        assert!(NotificationSet::EMPTY.is_empty() && Notification::parse("payment_lost").is_none());
    }
}
