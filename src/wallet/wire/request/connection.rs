//! Parameters of the methods about connections and the node's key.

use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::fields::{amount, hex, metadata};
use super::other;
use crate::base::amount::Msat;
use crate::base::hex32::{Hex32, PublicKey};
use crate::wallet::terms::Refusal;

/// Most names in one list of methods or notifications.
pub const METHODS_MAX: usize = 64;
/// Longest text that is signed.
const MESSAGE_MAX_BYTES: usize = 16_384;

/// A text to be signed.
#[derive(Debug, PartialEq, Eq)]
pub struct SignMessage {
    /// It.
    pub message: String,
}

/// A connection that an app wants for another app.
#[derive(Debug, PartialEq, Eq)]
pub struct CreateConnection {
    /// The other app's key.
    pub client: PublicKey,
    /// What its owner will read.
    pub name: String,
    /// Names of methods, at least one.
    pub methods: Vec<String>,
    /// Names of notifications; none are given that are not named.
    pub notifications: Vec<String>,
    /// What it may spend in a period, fees included.
    pub budget_msat: Option<Msat>,
    /// Name of the period.
    pub renewal: Option<String>,
    /// Unix seconds.
    pub expires_at_s: Option<u64>,
    /// Whether it gets an account of its own.
    pub isolated: bool,
}

impl CreateConnection {
    /// The same for the same wish.
    pub fn digest(&self) -> Hex32 {
        let budget_msat = self.budget_msat.map(Msat::get);
        let (methods, notifications, end) = (&self.methods, &self.notifications, self.expires_at_s);
        let terms = (&self.client, &self.name, methods, notifications, budget_msat, &self.renewal, end, self.isolated);
        // Numbers and texts always serialise.
        Hex32(Sha256::digest(serde_json::to_vec(&terms).unwrap_or_default()).into())
    }
}

#[derive(Deserialize, Default)]
pub(super) struct RawSign {
    message: Option<String>,
}

impl RawSign {
    pub(super) fn check(self) -> Result<SignMessage, Refusal> {
        let message = self.message.ok_or_else(|| other("params: sign_message needs a message"))?;
        if message.len() > MESSAGE_MAX_BYTES {
            return Err(other(format!("params: the message is longer than {MESSAGE_MAX_BYTES} bytes")));
        }
        Ok(SignMessage { message })
    }
}

#[derive(Deserialize, Default)]
pub(super) struct RawCreate {
    pubkey: Option<String>,
    name: Option<String>,
    request_methods: Option<Vec<String>>,
    notification_types: Option<Vec<String>>,
    max_amount: Option<u64>,
    #[serde(alias = "renewal_period")]
    budget_renewal: Option<String>,
    expires_at: Option<u64>,
    isolated: Option<bool>,
    metadata: Option<Box<RawValue>>,
}

impl RawCreate {
    pub(super) fn check(self) -> Result<CreateConnection, Refusal> {
        let client = hex("pubkey", &self.pubkey.ok_or_else(|| other("params: create_connection needs a pubkey"))?)?;
        let name = self.name.ok_or_else(|| other("params: create_connection needs a name"))?;
        let methods = self.request_methods.filter(|methods| !methods.is_empty());
        let methods = methods.ok_or_else(|| other("params: create_connection needs request_methods, at least one"))?;
        let notifications = self.notification_types.unwrap_or_default();
        if methods.len() > METHODS_MAX || notifications.len() > METHODS_MAX {
            return Err(other(format!("params: at most {METHODS_MAX} methods or notifications can be named")));
        }
        // Read to be refused where it is no object; nothing here shows it.
        metadata(self.metadata)?;
        Ok(CreateConnection {
            client,
            name,
            methods,
            notifications,
            budget_msat: self.max_amount.filter(|msat| *msat > 0).map(amount).transpose()?,
            renewal: self.budget_renewal.filter(|name| !name.is_empty()),
            expires_at_s: self.expires_at.filter(|at_s| *at_s > 0),
            isolated: self.isolated.unwrap_or(false),
        })
    }
}
