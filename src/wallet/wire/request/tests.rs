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
        (r#"{"method":"levitate"}"#, "NOT_IMPLEMENTED: this wallet does not do \"levitate\""),
        (r#"{"method":"pay_keysend"}"#, "OTHER: params: pay_keysend needs a pubkey"),
        (r#"{"method":"make_hodl_invoice","params":{"amount":1}}"#, "OTHER: params: make_hold_invoice needs a payment_hash"),
        (r#"{"method":"settle_hold_invoice","params":{"preimage":"ab"}}"#, "OTHER: params: preimage must be 64 hex digits"),
        (r#"{"method":"multi_pay_invoice","params":{"invoices":[]}}"#, "OTHER: params: multi_pay_invoice needs invoices"),
        (r#"{"method":"pay","params":{}}"#, "BAD_REQUEST: params: pay needs a payment"),
        (r#"{"method":"pay","params":{"payment":"x","payer_note":"hi"}}"#, "BAD_REQUEST: params: a BOLT11 invoice cannot carry"),
        (r#"{"method":"receive","params":{"amount":0}}"#, "BAD_REQUEST: params: amount must be above zero"),
        (r#"{"method":"create_connection","params":{"pubkey":"x"}}"#, "OTHER: params: pubkey must be 64 hex digits"),
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
            "OTHER: params: type must be \"incoming\" or \"outgoing\", or missing for both",
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

#[test]
fn keysend_records_are_bounded_sorted_and_never_those_of_the_protocol() {
    let key = "02".repeat(33);
    let ask = |records: &str| {
        read(&format!(r#"{{"method":"pay_keysend","params":{{"pubkey":"{key}","amount":1,"tlv_records":{records}}}}}"#))
    };
    let Ok(Call::PayKeysend(pay)) = ask(r#"[{"type":70000,"value":"FF"},{"type":65536,"value":""}]"#) else { panic!() };
    assert_eq!(pay.records.iter().map(|record| record.kind).collect::<Vec<_>>(), [65_536, 70_000]);
    assert_eq!(pay.records[1].value, [0xff]);
    let long = format!(r#"[{{"type":70000,"value":"{}"}}]"#, "00".repeat(769));
    for records in
        [r#"[{"type":65535,"value":""}]"#, r#"[{"type":70000,"value":"f"}]"#, r#"[{"type":70000,"value":"zz"}]"#, &long]
    {
        assert!(ask(records).is_err(), "{records}");
    }
    assert!(ask(r#"[{"type":70000,"value":""},{"type":70000,"value":"00"}]"#).is_err());
}

#[test]
fn an_item_that_cannot_be_read_does_not_spoil_the_others() {
    let text = r#"{"method":"multi_pay_invoice","params":{"invoices":[{"id":"a","invoice":"lnbc1"},{"id":"b"},5]}}"#;
    let Ok(Call::MultiPayInvoice(items)) = read(text) else { panic!() };
    assert_eq!(items.iter().map(|item| item.pay.is_ok()).collect::<Vec<_>>(), [true, false, false]);
    let many = format!(r#"{{"method":"multi_pay_invoice","params":{{"invoices":[{}{{}}]}}}}"#, "{},".repeat(MULTI_ITEMS_MAX));
    assert!(refusal(&many).contains("101 invoices, at most 100"), "{}", refusal(&many));
}
