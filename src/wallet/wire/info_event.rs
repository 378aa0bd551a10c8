//! Kind 13194: what a wallet key can do, in public.

use secp256k1::Keypair;

use super::method::{Method, MethodSet};
use super::notification::{Notification, NotificationSet};
use super::sign::{Nonce, Unsignable, Unsigned, sign};
use crate::protocol::event::Event;
use crate::protocol::kind;
use crate::wallet::terms::Scheme;

/// What a connection can do now: what was granted to it and what the back end can do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Offer {
    /// Methods that are answered.
    pub methods: MethodSet,
    /// Notifications that are sent.
    pub notifications: NotificationSet,
    /// Whether NIP-04 is served.
    pub nip04: bool,
}

impl Offer {
    /// The extensions (`nostr-wallet-connect/nwc`) that have a part in it, in order.
    pub fn extensions(&self) -> Vec<&'static str> {
        let has = |method| self.methods.has(method);
        let holds = has(Method::MakeHoldInvoice) && has(Method::SettleHoldInvoice) && has(Method::CancelHoldInvoice);
        let keeps_metadata = has(Method::PayInvoice) || has(Method::MakeInvoice);
        let all = [
            ("02", !self.notifications.is_empty()),
            ("03", holds),
            ("04", has(Method::PayKeysend)),
            ("05", has(Method::ListTransactions)),
            ("06", keeps_metadata),
            ("321", has(Method::Pay) || has(Method::Receive)),
        ];
        all.into_iter().filter_map(|(name, is_there)| is_there.then_some(name)).collect()
    }

    /// The notifications that it can get at all: without hold invoices none is accepted.
    #[must_use]
    pub const fn possible(self) -> Self {
        let notifications = match self.methods.has(Method::MakeHoldInvoice) {
            true => self.notifications,
            false => self.notifications.without(Notification::HoldInvoiceAccepted),
        };
        Self { notifications, ..self }
    }
}

/// What stands in the event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Announcement {
    /// Methods, separated by spaces; empty for a connection that is over. The word `notifications` among them is what clients
    /// of before extension 02 look for.
    pub content: String,
    /// Value of the `encryption` tag.
    pub encryption: String,
    /// Value of the `notifications` tag, which is left out where it is empty.
    pub notifications: String,
    /// Value of the `extensions` tag, which is left out where it is empty.
    pub extensions: String,
}

impl Announcement {
    /// What a connection announces.
    pub fn new(offer: &Offer) -> Self {
        let (new, old) = (Scheme::Nip44.as_str(), Scheme::Nip04.as_str());
        let encryption = if offer.nip04 { format!("{new} {old}") } else { new.to_owned() };
        let notifications = offer.notifications.words();
        let mut content = offer.methods.words();
        if !content.is_empty() && !notifications.is_empty() {
            content.push_str(" notifications");
        }
        Self { content, encryption, notifications, extensions: offer.extensions().join(" ") }
    }

    /// Everything that can differ, in one line: two announcements with the same digest are the same.
    pub fn digest(&self) -> String {
        format!("{}|{}|{}|{}", self.content, self.encryption, self.notifications, self.extensions)
    }

    /// Signs it without randomness: the same announcement at the same time is the same event, byte for byte, so that offering it
    /// to the store again writes nothing.
    pub fn sign(&self, keypair: &Keypair, created_at: u64) -> Result<Event, Unsignable> {
        let tags = [
            ["encryption", self.encryption.as_str()],
            ["notifications", self.notifications.as_str()],
            ["extensions", self.extensions.as_str()],
        ];
        let tags: Vec<&[&str]> = tags.iter().filter(|[_, value]| !value.is_empty()).map(<[&str; 2]>::as_slice).collect();
        sign(keypair, &Unsigned { kind: kind::WALLET_INFO, created_at, tags: &tags, content: &self.content }, Nonce::Same)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_names_methods_schemes_notifications_and_extensions_and_nothing_else() {
        let keypair = Keypair::from_seckey_slice(secp256k1::SECP256K1, &[7; 32]).unwrap();
        let methods = [Method::PayInvoice, Method::GetInfo].into_iter().collect();
        let offer = Offer { methods, notifications: NotificationSet::all(), nip04: true }.possible();
        let event = Announcement::new(&offer).sign(&keypair, 5).unwrap();
        let expected = concat!(
            r#""kind":13194,"tags":[["encryption","nip44_v2 nip04"],"#,
            r#"["notifications","payment_received payment_sent"],["extensions","02 06"]],"#,
            r#""content":"pay_invoice get_info notifications""#
        );
        assert!(event.json().contains(expected), "{}", event.json());
        assert_eq!(event, Announcement::new(&offer).sign(&keypair, 5).unwrap());
    }

    #[test]
    fn a_connection_that_is_over_names_nothing() {
        let over = Announcement::new(&Offer::default());
        assert_eq!(over.digest(), "|nip44_v2||");
        let keypair = Keypair::from_seckey_slice(secp256k1::SECP256K1, &[7; 32]).unwrap();
        assert!(over.sign(&keypair, 5).unwrap().json().contains(r#""tags":[["encryption","nip44_v2"]],"content":"""#));
    }

    #[test]
    fn extensions_follow_from_what_is_there() {
        let offer = Offer { methods: MethodSet::usual(), notifications: NotificationSet::all(), nip04: false };
        assert_eq!(offer.extensions().join(" "), "02 03 04 05 06 321");
        let half = [Method::MakeHoldInvoice, Method::PayKeysend].into_iter().collect();
        assert_eq!(Offer { methods: half, ..Offer::default() }.extensions(), ["04"]);
    }
}
