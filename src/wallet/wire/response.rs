//! Writes the plaintext of a response: always the three keys `result_type`, `error` and `result`, one of the last two null.

use serde::Serialize;

use crate::wallet::terms::Refusal;

/// Largest plaintext that is sent: NIP-44 pads it to a size whose event stays below 64 KiB; one byte more and it does not.
pub const PLAINTEXT_MAX_BYTES: usize = 40_960;

/// What `result_type` says where no method could be read.
pub const UNKNOWN_METHOD: &str = "unknown";

#[derive(Serialize)]
struct Response<'a, T: Serialize> {
    result_type: &'a str,
    error: Option<Error<'a>>,
    result: Option<&'a T>,
}

#[derive(Serialize)]
struct Error<'a> {
    code: &'static str,
    message: &'a str,
}

/// `{"result_type": ..., "error": null, "result": {...}}`
pub fn success<T: Serialize>(result_type: &str, result: &T) -> String {
    write(&Response { result_type, error: None, result: Some(result) })
}

/// `{"result_type": ..., "error": {"code": ..., "message": ...}, "result": null}`
pub fn failure(result_type: &str, refusal: &Refusal) -> String {
    let error = Error { code: refusal.code.as_str(), message: &refusal.message };
    write::<()>(&Response { result_type, error: Some(error), result: None })
}

fn write<T: Serialize>(response: &Response<'_, T>) -> String {
    // Results are structs of numbers, texts and raw JSON, none of which can fail; an empty text is caught when it is sealed.
    serde_json::to_string(response).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wallet::terms::ErrorCode;

    #[test]
    fn both_keys_are_always_there() {
        assert_eq!(success("get_balance", &7), r#"{"result_type":"get_balance","error":null,"result":7}"#);
        let refusal = Refusal::new(ErrorCode::QuotaExceeded, "5 msat \"left\"");
        let expected =
            r#"{"result_type":"pay_invoice","error":{"code":"QUOTA_EXCEEDED","message":"5 msat \"left\""},"result":null}"#;
        assert_eq!(failure("pay_invoice", &refusal), expected);
    }
}
