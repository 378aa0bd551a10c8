//! Kind 13194: what a wallet key can do, in public.

use secp256k1::Keypair;

use super::method::MethodSet;
use super::sign::{Nonce, Unsignable, Unsigned, sign};
use crate::protocol::event::Event;
use crate::protocol::kind;
use crate::wallet::terms::Scheme;

/// What stands in the event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Announcement {
    /// Methods, separated by spaces; empty for a connection that is over.
    pub content: String,
    /// Value of the `encryption` tag.
    pub encryption: String,
}

impl Announcement {
    /// What a connection announces.
    pub fn new(methods: MethodSet, nip04: bool) -> Self {
        let (new, old) = (Scheme::Nip44.as_str(), Scheme::Nip04.as_str());
        let encryption = if nip04 { format!("{new} {old}") } else { new.to_owned() };
        Self { content: methods.words(), encryption }
    }

    /// Everything that can differ, in one line: two announcements with the same digest are the same.
    pub fn digest(&self) -> String {
        format!("{}|{}", self.content, self.encryption)
    }

    /// Signs it without randomness: the same announcement at the same time is the same event, byte for byte, so that offering it
    /// to the store again writes nothing.
    pub fn sign(&self, keypair: &Keypair, created_at: u64) -> Result<Event, Unsignable> {
        let tags: &[&[&str]] = &[&["encryption", &self.encryption]];
        sign(keypair, &Unsigned { kind: kind::WALLET_INFO, created_at, tags, content: &self.content }, Nonce::Same)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wallet::wire::method::Method;

    #[test]
    fn it_names_methods_and_schemes_and_nothing_else() {
        let keypair = Keypair::from_seckey_slice(secp256k1::SECP256K1, &[7; 32]).unwrap();
        let methods = [Method::PayInvoice, Method::GetInfo].into_iter().collect();
        let event = Announcement::new(methods, true).sign(&keypair, 5).unwrap();
        assert!(
            event.json().contains(r#""kind":13194,"tags":[["encryption","nip44_v2 nip04"]],"content":"pay_invoice get_info""#)
        );
        let again = Announcement::new(methods, true).sign(&keypair, 5).unwrap();
        assert_eq!(event, again);
        assert_eq!(Announcement::new(MethodSet::EMPTY, false).digest(), "|nip44_v2");
    }
}
