//! The wallet service (NIP-47) as apps see it, and as its owner steers it.

mod access;
mod every_method;
mod hold;
mod late;
mod limits;
mod methods;
mod notifications;
mod nwc_crate;
mod payments;
mod privacy;
mod replay;
mod requests;

use crate::support::{App, Client, Hearth};

/// Two apps with an account each; the first has money.
pub struct Two {
    pub hearth: Hearth,
    pub client: Client,
    pub payer: App,
    pub payee: App,
}

impl Two {
    pub async fn new(funded_msat: u64) -> Self {
        let hearth = Hearth::start();
        let payer = App::connect(&hearth, "payer", &["--account", "payer"]);
        let payee = App::connect(&hearth, "payee", &["--account", "payee"]);
        if funded_msat > 0 {
            hearth.fund("payer", funded_msat);
        }
        let client = hearth.client().await;
        Self { hearth, client, payer, payee }
    }

    /// Balances of payer and payee.
    pub async fn balances(&mut self) -> (u64, u64) {
        (self.payer.balance(&mut self.client).await, self.payee.balance(&mut self.client).await)
    }
}

/// SHA-256 of a preimage, both in hex.
pub fn hash_of(preimage: &str) -> String {
    const_hex::encode(<sha2::Sha256 as sha2::Digest>::digest(const_hex::decode(preimage).unwrap()))
}
