//! Requests as clients write them, and the words for those that cannot be read.

use super::*;

fn read(text: &str) -> Result<Call, Refusal> {
    let request = Request::parse(text)?;
    request.call(request.method()?)
}

fn refusal(text: &str) -> String {
    read(text).unwrap_err().to_string()
}

#[test]
fn params_may_be_missing_null_or_empty() {
    for params in ["", ",\"params\":null", ",\"params\":{}", ",\"params\":{\"unknown\":[1]}"] {
        let ask = |method: &str| read(&format!("{{\"method\":\"{method}\"{params}}}")).unwrap();
        assert_eq!(ask("get_balance"), Call::GetBalance);
        assert_eq!(ask("get_info"), Call::GetInfo);
        assert_eq!(ask("get_budget"), Call::GetBudget);
        assert_eq!(ask("list_transactions"), Call::ListTransactions(ListTransactions::default()));
    }
}

#[test]
fn an_optional_parameter_that_is_null_is_not_given() {
    let call = read(r#"{"method":"make_invoice","params":{"amount":1000,"description":null,"expiry":0,"metadata":null}}"#);
    let Ok(Call::MakeInvoice(make)) = call else { panic!("{call:?}") };
    assert_eq!((make.amount_msat.get(), make.description, make.expiry_s, make.metadata), (1_000, None, None, None));
}

#[test]
fn invoices_lose_what_wallets_paste_around_them() {
    for text in ["lnbc1", " lnbc1\\n", "lightning:lnbc1", "LIGHTNING:lnbc1"] {
        let call = read(&format!("{{\"method\":\"pay_invoice\",\"params\":{{\"invoice\":\"{text}\"}}}}"));
        let Ok(Call::PayInvoice(pay)) = call else { panic!("{call:?}") };
        assert_eq!(pay.invoice, "lnbc1");
    }
}

#[test]
fn metadata_that_is_too_long_is_dropped_and_the_request_is_not() {
    let of_length = |length: usize| {
        let filler = "x".repeat(length - 8);
        let text = format!("{{\"method\":\"make_invoice\",\"params\":{{\"amount\":1,\"metadata\":{{\"a\":\"{filler}\"}}}}}}");
        match read(&text) {
            Ok(Call::MakeInvoice(make)) => make.metadata,
            unexpected => panic!("{unexpected:?}"),
        }
    };
    assert_eq!(of_length(METADATA_MAX_CHARS).map(|text| text.len()), Some(METADATA_MAX_CHARS));
    assert_eq!(of_length(METADATA_MAX_CHARS + 1), None);
}

#[test]
fn bad_requests_are_refused_with_words_that_name_the_fault() {
    let table = [
        ("", "OTHER: request: EOF while parsing a value"),
        ("[]", "OTHER: request: invalid length 0, expected an object with a method and params"),
        ("{}", "OTHER: request: missing field `method`"),
        (r#"{"method":7}"#, "OTHER: request: invalid type: integer `7`, expected a string"),
        (r#"{"method":"pay_keysend"}"#, "NOT_IMPLEMENTED: this wallet does not do \"pay_keysend\""),
        (r#"{"method":"pay_invoice"}"#, "OTHER: params: pay_invoice needs an invoice"),
        (r#"{"method":"pay_invoice","params":{"invoice":" "}}"#, "OTHER: params: the invoice is empty"),
        (
            r#"{"method":"pay_invoice","params":{"invoice":"a","amount":-1}}"#,
            "OTHER: params: invalid value: integer `-1`, expected u64",
        ),
        (r#"{"method":"make_invoice","params":null}"#, "OTHER: params: make_invoice needs an amount in msat"),
        (
            r#"{"method":"make_invoice","params":{"amount":2100000000000000001}}"#,
            "OTHER: params: amount is above 2,100,000,000,000,000,000 msat, more than there will ever be",
        ),
        (
            r#"{"method":"make_invoice","params":{"amount":1,"description_hash":"00"}}"#,
            "OTHER: params: description_hash must be 64 hex digits",
        ),
        (r#"{"method":"make_invoice","params":{"amount":1,"metadata":[]}}"#, "OTHER: params: metadata must be an object"),
        (r#"{"method":"lookup_invoice","params":{}}"#, "OTHER: params: lookup_invoice needs a payment_hash or an invoice"),
        (r#"{"method":"lookup_invoice","params":{"payment_hash":"xyz"}}"#, "OTHER: params: payment_hash must be 64 hex digits"),
        (
            r#"{"method":"list_transactions","params":{"type":"sideways"}}"#,
            "OTHER: params: unknown variant `sideways`, expected `incoming` or `outgoing`",
        ),
    ];
    for (text, expected) in table {
        let got = refusal(text);
        assert!(got == expected || got.starts_with(expected), "{text}\n  got {got}\n  not {expected}");
    }
}

#[test]
fn a_method_name_is_repeated_only_so_far() {
    let long = format!("{{\"method\":\"{}\"}}", "m".repeat(10_000));
    let request = Request::parse(&long).unwrap();
    assert_eq!(request.result_type().len(), METHOD_NAME_MAX_CHARS);
    assert!(request.method().unwrap_err().message.len() < 128);
}
