//! Both ends of a wallet conversation (NIP-47) as the load generator needs them: requests made before the clock starts, answers
//! opened as they come.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use nostr::nips::nip44::v2::{self, ConversationKey};
use nostr::nips::nip47::NostrWalletConnectUri;
use nostr::prelude::{PublicKey, SecretKey};
use parking_lot::Mutex;
use secp256k1::{Keypair, SECP256K1};
use serde_json::{Value, json};

use super::args::Method;
use super::data::{Author, Signed, now_s};
use super::engine::{Ear, Expect, Op};
use super::error::ClientError;
use crate::protocol::event::Draft;
use crate::protocol::verify::verify;

/// Kinds of NIP-47.
pub(super) const REQUEST: u16 = 23_194;
pub(super) const RESPONSE: u16 = 23_195;

/// One side of an encrypted conversation.
#[derive(Clone)]
pub(super) struct Party {
    pub(super) own: Arc<Author>,
    /// The other side's public key.
    pub(super) peer: String,
    conversation: Arc<ConversationKey>,
    /// The relay that the connection names.
    pub(super) relay: String,
}

impl Party {
    /// Reads a connection URI.
    pub(super) fn of_uri(uri: &str) -> Result<Self, ClientError> {
        let uri = NostrWalletConnectUri::parse(uri).map_err(wrong)?;
        let relay = uri.relays.first().ok_or_else(|| ClientError::Wallet("the URI names no relay".into()))?;
        let keys = Keypair::from_seckey_slice(SECP256K1, uri.secret.as_secret_bytes()).map_err(wrong)?;
        Self::new(Author::new(keys), &uri.public_key.to_hex(), relay.as_str().trim_end_matches('/'))
    }

    pub(super) fn new(own: Author, peer: &str, relay: &str) -> Result<Self, ClientError> {
        let secret = SecretKey::from_slice(&own.keys.secret_bytes()).map_err(wrong)?;
        let peer_key = PublicKey::from_hex(peer).map_err(wrong)?;
        let conversation = Arc::new(ConversationKey::derive(&secret, &peer_key).map_err(wrong)?);
        Ok(Self { own: Arc::new(own), peer: peer.to_owned(), conversation, relay: relay.to_owned() })
    }

    /// The filter of its answers.
    pub(super) fn answers(&self) -> String {
        format!(r##"{{"kinds":[{RESPONSE}],"authors":["{}"],"#p":["{}"],"limit":1}}"##, self.peer, self.own.pubkey)
    }

    /// A request, encrypted and signed.
    pub(super) fn request(&self, method: &str, params: &Value) -> Result<Signed, ClientError> {
        let sealed = self.seal(&json!({"method": method, "params": params}).to_string())?;
        let tags = format!(r#"[["p","{}"],["encryption","nip44_v2"]]"#, self.peer);
        Ok(self.own.sign(now_s(), REQUEST, &tags, &sealed))
    }

    /// The answer to a request.
    pub(super) fn answer(&self, request: &str, result: &Value) -> Result<Signed, ClientError> {
        let sealed = self.seal(&result.to_string())?;
        let tags = format!(r#"[["p","{}"],["e","{request}"]]"#, self.peer);
        Ok(self.own.sign(now_s(), RESPONSE, &tags, &sealed))
    }

    fn seal(&self, plain: &str) -> Result<String, ClientError> {
        let mut nonce = [0_u8; 32];
        getrandom::fill(&mut nonce).map_err(wrong)?;
        let sealed = v2::encrypt_to_bytes_with_nonce(&self.conversation, plain.as_bytes(), nonce).map_err(wrong)?;
        Ok(base64::engine::general_purpose::STANDARD.encode(sealed))
    }

    /// Reads an event of the other side; `check` looks at its signature too.
    pub(super) fn open(&self, event: &[u8], check: bool) -> Result<Value, ClientError> {
        let text = std::str::from_utf8(event).map_err(wrong)?;
        let draft = Draft::parse(text).map_err(|reason| ClientError::Wallet(reason.to_string()))?;
        if check {
            verify(&draft.id, &draft.pubkey, &draft.sig).map_err(|reason| ClientError::Wallet(reason.to_string()))?;
        }
        let sealed = base64::engine::general_purpose::STANDARD.decode(draft.content.as_bytes()).map_err(wrong)?;
        let plain = v2::decrypt_to_bytes(&self.conversation, &sealed).map_err(wrong)?;
        serde_json::from_slice(&plain).map_err(wrong)
    }
}

fn wrong(error: impl std::fmt::Display) -> ClientError {
    ClientError::Wallet(error.to_string())
}

/// A wallet request as an operation.
pub(super) fn request_op(party: &Party, method: Method, params: &Value, class: usize, at: Duration) -> Result<Op, ClientError> {
    let request = party.request(method.name(), params)?;
    Ok(Op { frame: request.frame(), expect: Expect::Reply(request.key()), class, at })
}

/// Opens every answer; an error in it is a failure.
pub(super) struct Answers {
    party: Party,
    check: usize,
    heard: usize,
    /// Where results go that somebody wants (at most one per request).
    results: Option<Arc<Mutex<Vec<Value>>>>,
}

impl Answers {
    pub(super) fn new(party: Party, check: usize) -> Self {
        Self { party, check, heard: 0, results: None }
    }

    pub(super) fn kept(party: Party, results: Arc<Mutex<Vec<Value>>>) -> Self {
        Self { party, check: 1, heard: 0, results: Some(results) }
    }
}

impl Ear for Answers {
    fn reply(&mut self, event: &[u8]) -> Result<(), String> {
        self.heard += 1;
        let check = self.check > 0 && self.heard.is_multiple_of(self.check);
        let answer = self.party.open(event, check).map_err(|error| error.to_string())?;
        match answer.get("error") {
            None | Some(Value::Null) => {}
            Some(error) => return Err(format!("the wallet answered {error}")),
        }
        if let Some(results) = &self.results {
            results.lock().push(answer.get("result").cloned().unwrap_or_default());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Party, Party) {
        let (client, wallet) = (Author::of(1, "client", 0), Author::of(1, "wallet", 0));
        let (client_key, wallet_key) = (client.pubkey.clone(), wallet.pubkey.clone());
        (Party::new(client, &wallet_key, "").unwrap(), Party::new(wallet, &client_key, "").unwrap())
    }

    #[test]
    fn what_one_side_seals_the_other_opens() {
        let (client, wallet) = pair();
        let request = client.request("get_balance", &json!({})).unwrap();
        let opened = wallet.open(request.json.as_bytes(), true).unwrap();
        assert_eq!(opened["method"], "get_balance");
        let answer = wallet.answer(&request.id, &json!({"result": {"balance": 5}})).unwrap();
        assert!(Answers::new(client.clone(), 1).reply(answer.json.as_bytes()).is_ok());
        assert_eq!(crate::bench::answer::answered_id(answer.json.as_bytes()), Some(request.key()));
        let refused = wallet.answer(&request.id, &json!({"error": {"code": "INTERNAL"}})).unwrap();
        assert!(Answers::new(client, 1).reply(refused.json.as_bytes()).unwrap_err().contains("INTERNAL"));
    }

    #[test]
    fn a_uri_is_read() {
        let wallet = Author::of(1, "wallet", 0).pubkey;
        let uri = format!("nostr+walletconnect://{wallet}?relay=ws://127.0.0.1:7777&secret={}", "11".repeat(32));
        let party = Party::of_uri(&uri).unwrap();
        assert_eq!((party.peer.as_str(), party.relay.as_str()), (wallet.as_str(), "ws://127.0.0.1:7777"));
        assert!(Party::of_uri("nostr+walletconnect://zz").is_err());
    }
}
