//! Back ends: the conformance suite over each of them, and hearth with a wallet as a process of its own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    unreachable_pub,
    reason = "tests"
)]

mod behind_hearth;
mod faults;
mod process;
mod suite;
#[path = "../it/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the harness of tests/it; what is not needed here is used there")]
mod support;
mod worlds;

use suite::conformance;

conformance!(embedded, crate::worlds::Embedded,
applies: [
    info,
    an_invoice_made_twice_has_one_hash,
    invoices_say_what_was_ordered,
    without_an_outside_payments_fail_for_certain,
    sign_message,
],
left_out: [
    pay_with_an_amount,
    pay_without_an_amount,
    a_second_payment_of_one_hash_pays_nothing,
    failed_for_certain,
    unknown_then_settled,
    unknown_then_failed,
    never_heard_of,
    the_fee_stays_within_its_limit,
    keysend_with_records,
    an_invoice_paid_from_outside,
    reported_again_until_it_is_safe,
    reported_from_the_beginning,
    a_hold_invoice_is_settled,
    a_hold_invoice_is_canceled,
    a_hold_invoice_that_nobody_paid_is_canceled,
    a_restart_in_the_middle,
]);

/// Everything but what is only for back ends without an outside.
macro_rules! conformance_with_an_outside {
    ($name:ident, $world:ty) => {
        conformance!($name, $world,
            applies: [
                info,
                an_invoice_made_twice_has_one_hash,
                invoices_say_what_was_ordered,
                pay_with_an_amount,
                pay_without_an_amount,
                a_second_payment_of_one_hash_pays_nothing,
                failed_for_certain,
                unknown_then_settled,
                unknown_then_failed,
                never_heard_of,
                the_fee_stays_within_its_limit,
                keysend_with_records,
                an_invoice_paid_from_outside,
                reported_again_until_it_is_safe,
                reported_from_the_beginning,
                a_hold_invoice_is_settled,
                a_hold_invoice_is_canceled,
                a_hold_invoice_that_nobody_paid_is_canceled,
                a_restart_in_the_middle,
                sign_message,
            ],
            left_out: [without_an_outside_payments_fail_for_certain]);
    };
}

conformance_with_an_outside!(scripted, crate::worlds::ScriptedWorld);
conformance_with_an_outside!(grpc_rust, crate::worlds::Grpc<crate::process::Rust>);
conformance_with_an_outside!(grpc_python, crate::worlds::Grpc<crate::process::Python>);
