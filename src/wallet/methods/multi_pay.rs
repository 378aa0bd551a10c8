//! `multi_pay_invoice` and `multi_pay_keysend`, for old clients: each item is a payment of its own, with an answer of its own whose
//! `d` tag names it.

use super::{Errand, pay_invoice, pay_keysend};
use crate::wallet::backend::bolt11::Unchecked;
use crate::wallet::terms::Refusal;
use crate::wallet::wire::request::{Item, Keysend, PayInvoice};

/// One payment of several.
#[derive(Debug)]
pub struct Part {
    /// The `d` tag of its answer.
    pub tag: String,
    /// What is to be paid, or why it could not be read.
    pub errand: Result<Errand, Refusal>,
}

/// Invoices: an item without a name is called by its payment hash.
pub fn invoices(items: Vec<Item<PayInvoice>>) -> Vec<Part> {
    parts(
        items,
        |pay| Unchecked::parse(&pay.invoice).ok().and_then(|read| read.hash()).map(|hash| hash.to_string()),
        pay_invoice::errand,
    )
}

/// Keysends: an item without a name is called by its payee.
pub fn keysends(items: Vec<Item<Keysend>>) -> Vec<Part> {
    parts(items, |pay| Some(pay.payee.clone()), pay_keysend::errand)
}

/// An item that has neither a name nor can be read is called by its place, from 0.
fn parts<T>(items: Vec<Item<T>>, name: impl Fn(&T) -> Option<String>, errand: impl Fn(T) -> Errand) -> Vec<Part> {
    let part = |(place, item): (usize, Item<T>)| {
        let named = item.id.or_else(|| item.pay.as_ref().ok().and_then(&name)).or(item.payee);
        Part { tag: named.unwrap_or_else(|| place.to_string()), errand: item.pay.map(&errand) }
    };
    items.into_iter().enumerate().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wallet::wire::request::{Call, Request};

    fn tags(text: &str) -> Vec<(String, bool)> {
        let request = Request::parse(text).unwrap();
        let parts = match request.call(request.method().unwrap()).unwrap() {
            Call::MultiPayInvoice(items) => invoices(items),
            Call::MultiPayKeysend(items) => keysends(items),
            other => panic!("{other:?}"),
        };
        parts.into_iter().map(|part| (part.tag, part.errand.is_ok())).collect()
    }

    #[test]
    fn an_item_is_called_by_its_name_its_hash_its_payee_or_its_place() {
        let invoice = "lnbc2500u1pvjluezsp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygspp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqf\
                       qqqsyqcyq5rqwzqfqypqdq5xysxxatsyp3k7enxv4jsxqzpu9qrsgquk0rl77nj30yxdy8j9vdx85fkpmdla2087ne0xh8nhedh8w27kyke0lp53\
                       ut353s06fv3qfegext0eh0ymjpf39tuven09sam30g4vgpfna3rh";
        let items = format!(r#"[{{"id":"tea","invoice":"x"}},{{"invoice":"{invoice}"}},{{"invoice":"x"}},{{}},7]"#);
        let hash = "0001020304050607080900010203040506070809000102030405060708090102".to_owned();
        let expected =
            [("tea".to_owned(), true), (hash, true), ("2".to_owned(), true), ("3".to_owned(), false), ("4".to_owned(), false)];
        assert_eq!(tags(&format!(r#"{{"method":"multi_pay_invoice","params":{{"invoices":{items}}}}}"#)), expected);
        let key = "02".repeat(33);
        let items = format!(r#"[{{"pubkey":"{key}","amount":1}},{{"pubkey":"{key}"}},{{"id":"a","pubkey":"{key}","amount":1}}]"#);
        let expected = [(key.clone(), true), (key, false), ("a".to_owned(), true)];
        assert_eq!(tags(&format!(r#"{{"method":"multi_pay_keysend","params":{{"keysends":{items}}}}}"#)), expected);
    }
}
