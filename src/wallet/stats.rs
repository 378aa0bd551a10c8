//! Counters of the wallet, for whoever shows them (`nwc_requests_total{method,result}`). Labels come from closed lists.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::wallet::terms::ErrorCode;
use crate::wallet::wire::method::Method;

/// The result labels after `ok`.
const CODES: [ErrorCode; 15] = [
    ErrorCode::RateLimited,
    ErrorCode::NotImplemented,
    ErrorCode::InsufficientBalance,
    ErrorCode::QuotaExceeded,
    ErrorCode::Restricted,
    ErrorCode::Unauthorized,
    ErrorCode::Internal,
    ErrorCode::Other,
    ErrorCode::UnsupportedEncryption,
    ErrorCode::PaymentFailed,
    ErrorCode::NotFound,
    ErrorCode::BadRequest,
    ErrorCode::UnsupportedPaymentInstruction,
    ErrorCode::UnsupportedNetwork,
    ErrorCode::FeeLimitExceeded,
];
/// Label of what is no known method.
const NO_METHOD: &str = "unknown";
const METHODS: usize = Method::ALL.len() + 1;
const RESULTS: usize = CODES.len() + 1;

/// One line of `nwc_requests_total`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Count {
    /// A method, or `unknown`.
    pub method: &'static str,
    /// `ok` or an error code.
    pub result: &'static str,
    /// How many answers of this kind were made.
    pub count: u64,
}

/// Counters since the process started.
#[derive(Debug, Default)]
pub struct Stats {
    answers: [[AtomicU64; RESULTS]; METHODS],
    repeats: AtomicU64,
    refused: AtomicU64,
}

impl Stats {
    /// An answer was made.
    pub fn answered(&self, method: &str, result: Result<(), ErrorCode>) {
        let row = Method::ALL.iter().position(|known| known.as_str() == method).unwrap_or(METHODS - 1);
        let column = match result {
            Ok(()) => 0,
            Err(code) => CODES.iter().position(|known| *known == code).map_or(0, |at| at + 1),
        };
        self.answers[row][column].fetch_add(1, Ordering::Relaxed);
    }

    /// A request came again.
    pub fn repeated(&self) {
        self.repeats.fetch_add(1, Ordering::Relaxed);
    }

    /// A request was refused by its `OK` alone.
    pub fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// All answers that were made, without the lines that are zero.
    pub fn requests(&self) -> Vec<Count> {
        let mut lines = Vec::new();
        for (row, counters) in self.answers.iter().enumerate() {
            let method = Method::ALL.get(row).map_or(NO_METHOD, |method| method.as_str());
            for (column, counter) in counters.iter().enumerate() {
                let result = column.checked_sub(1).and_then(|at| CODES.get(at)).map_or("ok", |code| code.as_str());
                let count = counter.load(Ordering::Relaxed);
                if count > 0 {
                    lines.push(Count { method, result, count });
                }
            }
        }
        lines
    }

    /// How many requests came again.
    pub fn repeats(&self) -> u64 {
        self.repeats.load(Ordering::Relaxed)
    }

    /// How many requests were refused by their `OK` alone.
    pub fn refusals(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_method_and_result() {
        let stats = Stats::default();
        stats.answered("get_balance", Ok(()));
        stats.answered("get_balance", Ok(()));
        stats.answered("pay_invoice", Err(ErrorCode::QuotaExceeded));
        stats.answered("levitate", Err(ErrorCode::NotImplemented));
        let lines: Vec<_> = stats.requests().iter().map(|line| (line.method, line.result, line.count)).collect();
        let expected = [("pay_invoice", "QUOTA_EXCEEDED", 1), ("get_balance", "ok", 2), ("unknown", "NOT_IMPLEMENTED", 1)];
        assert_eq!(lines, expected);
    }
}
