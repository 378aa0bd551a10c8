//! The wallet of `wallet-service`: accounts in memory and nowhere else, invoices as hearth's own embedded back end makes them.
//!
//! It does what a request needs of a wallet (decode and sign real invoices, move balances, pay a hash once) and nothing that keeps
//! money safe. What goes onto a disk, if anything, is the service's business; a comparison with it errs in its favour.

use std::collections::HashMap;

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::data::now_s;
use super::error::ClientError;
use crate::base::amount::Msat;
use crate::base::hex32::PaymentHash;
use crate::base::secret::Secret;
use crate::wallet::backend::embedded::{Config, Embedded};
use crate::wallet::backend::{Backend as _, MadeInvoice, NewInvoice, bolt11};
use crate::wallet::terms::Preimage;

/// What every account has at the start.
const START_MSAT: u64 = 1_000_000_000_000;
/// Life of an invoice.
const EXPIRY_S: u64 = 3_600;
/// Most invoices that are kept; what is beyond is refused.
const INVOICES_MAX: usize = 2_000_000;

/// What an asker is told instead of a result: a code of NIP-47 and words.
type Refusal = (&'static str, String);

/// All accounts, by number.
pub(super) struct Ledger {
    backend: Embedded,
    books: Mutex<Books>,
}

struct Books {
    balances_msat: Vec<u64>,
    invoices: HashMap<PaymentHash, Invoice>,
}

struct Invoice {
    payee: usize,
    amount_msat: u64,
    expires_at_s: u64,
    preimage: Preimage,
    is_paid: bool,
}

impl Ledger {
    pub(super) fn new(accounts: usize) -> Result<Self, ClientError> {
        let key = Secret::new(random()?);
        let backend = Embedded::new(&key, &Config::default()).map_err(|error| ClientError::Wallet(error.to_string()))?;
        let books = Books { balances_msat: vec![START_MSAT; accounts], invoices: HashMap::new() };
        Ok(Self { backend, books: Mutex::new(books) })
    }

    /// Answers a decrypted request of an account, in the words of NIP-47.
    pub(super) fn answer(&self, account: usize, request: &Value) -> Value {
        let (method, params) = (request["method"].as_str().unwrap_or_default(), &request["params"]);
        let done = match method {
            "get_balance" => Ok(json!({"balance": self.books.lock().balances_msat[account]})),
            "make_invoice" => self.make_invoice(account, params),
            "pay_invoice" => self.pay_invoice(account, params),
            other => Err(("NOT_IMPLEMENTED", format!("{other} is nothing that this wallet does"))),
        };
        match done {
            Ok(result) => json!({"result_type": method, "result": result, "error": null}),
            Err((code, message)) => json!({"result_type": method, "error": {"code": code, "message": message}, "result": null}),
        }
    }

    fn make_invoice(&self, payee: usize, params: &Value) -> Result<Value, Refusal> {
        let amount = params["amount"].as_u64().filter(|&msat| msat > 0).and_then(|msat| Msat::new(msat).ok());
        let amount = amount.ok_or_else(|| ("OTHER", "amount in msat is missing or no possible one".to_owned()))?;
        let preimage = Preimage(random().map_err(|error| ("INTERNAL", error.to_string()))?);
        let order = NewInvoice {
            amount: Some(amount),
            description: params["description"].as_str().unwrap_or_default().to_owned(),
            description_hash: None,
            expiry_s: EXPIRY_S,
            now_s: now_s(),
            preimage,
        };
        let (description, created_at_s) = (order.description.clone(), order.now_s);
        let MadeInvoice { bolt11, hash, expires_at_s } = self.invoice(order)?;
        let mut books = self.books.lock();
        if books.invoices.len() >= INVOICES_MAX {
            return Err(("QUOTA_EXCEEDED", format!("this wallet keeps {INVOICES_MAX} invoices: start it again")));
        }
        let invoice = Invoice { payee, amount_msat: amount.get(), expires_at_s, preimage, is_paid: false };
        books.invoices.insert(hash, invoice);
        Ok(json!({
            "type": "incoming", "state": "pending", "invoice": bolt11, "description": description,
            "payment_hash": hash.to_string(), "amount": amount.get(), "created_at": created_at_s, "expires_at": expires_at_s,
        }))
    }

    fn invoice(&self, order: NewInvoice) -> Result<MadeInvoice, Refusal> {
        // The embedded back end answers before it returns.
        let (tell, made) = std::sync::mpsc::sync_channel(1);
        self.backend.make_invoice(order, Box::new(move |made| drop(tell.send(made))));
        match made.try_recv() {
            Ok(Ok(made)) => Ok(made),
            Ok(Err(error)) => Err(("INTERNAL", error.to_string())),
            Err(error) => Err(("INTERNAL", error.to_string())),
        }
    }

    fn pay_invoice(&self, payer: usize, params: &Value) -> Result<Value, Refusal> {
        let text = params["invoice"].as_str().unwrap_or_default();
        let decoded = bolt11::decode(text).map_err(|error| ("OTHER", error.to_string()))?;
        let mut books = self.books.lock();
        let Books { balances_msat, invoices } = &mut *books;
        let unknown = || ("PAYMENT_FAILED", "the invoice is somebody else's".to_owned());
        let invoice = invoices.get_mut(&decoded.hash).ok_or_else(unknown)?;
        if invoice.is_paid {
            return Err(("OTHER", "the invoice was paid before".to_owned()));
        }
        if now_s() >= invoice.expires_at_s {
            return Err(("PAYMENT_FAILED", "the invoice is expired".to_owned()));
        }
        let rest_msat = balances_msat[payer].checked_sub(invoice.amount_msat);
        balances_msat[payer] = rest_msat.ok_or_else(|| ("INSUFFICIENT_BALANCE", "the account has less".to_owned()))?;
        balances_msat[invoice.payee] += invoice.amount_msat;
        invoice.is_paid = true;
        Ok(json!({"preimage": const_hex::encode(invoice.preimage.0), "fees_paid": 0}))
    }
}

fn random() -> Result<[u8; 32], ClientError> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(|error| ClientError::Wallet(error.to_string()))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(ledger: &Ledger, account: usize, method: &str, params: &Value) -> Value {
        ledger.answer(account, &json!({"method": method, "params": params}))
    }

    fn invoice(ledger: &Ledger, account: usize, amount_msat: u64) -> (String, String) {
        let made = ask(ledger, account, "make_invoice", &json!({"amount": amount_msat, "description": "tea"}));
        let result = &made["result"];
        (result["invoice"].as_str().unwrap().to_owned(), result["payment_hash"].as_str().unwrap().to_owned())
    }

    #[test]
    fn money_moves_once_and_the_preimage_proves_it() {
        let ledger = Ledger::new(2).unwrap();
        let (text, hash) = invoice(&ledger, 1, 5_000);
        assert_eq!(bolt11::decode(&text).unwrap().amount.map(Msat::get), Some(5_000));
        let paid = ask(&ledger, 0, "pay_invoice", &json!({"invoice": text}));
        let preimage: [u8; 32] = const_hex::decode(paid["result"]["preimage"].as_str().unwrap()).unwrap().try_into().unwrap();
        assert_eq!(Preimage(preimage).hash().to_string(), hash);
        let again = ask(&ledger, 0, "pay_invoice", &json!({"invoice": text}));
        assert_eq!(again["error"]["code"], "OTHER");
        let balance = |account| ask(&ledger, account, "get_balance", &json!({}))["result"]["balance"].as_u64();
        assert_eq!((balance(0), balance(1)), (Some(START_MSAT - 5_000), Some(START_MSAT + 5_000)));
    }

    #[test]
    fn what_cannot_be_done_is_refused_and_moves_nothing() {
        let (ledger, other) = (Ledger::new(2).unwrap(), Ledger::new(1).unwrap());
        let code = |method: &str, params: Value| ask(&ledger, 0, method, &params)["error"]["code"].as_str().map(str::to_owned);
        let foreign = invoice(&other, 0, 1_000).0;
        let dear = invoice(&ledger, 1, START_MSAT + 1).0;
        assert_eq!(code("pay_invoice", json!({"invoice": foreign})).as_deref(), Some("PAYMENT_FAILED"));
        assert_eq!(code("pay_invoice", json!({"invoice": dear})).as_deref(), Some("INSUFFICIENT_BALANCE"));
        assert_eq!(code("pay_invoice", json!({"invoice": "lnbc1"})).as_deref(), Some("OTHER"));
        assert_eq!(code("make_invoice", json!({"amount": 0})).as_deref(), Some("OTHER"));
        assert_eq!(code("sign_message", json!({})).as_deref(), Some("NOT_IMPLEMENTED"));
        assert_eq!(ask(&ledger, 0, "get_balance", &json!({}))["result"]["balance"], START_MSAT);
    }
}
