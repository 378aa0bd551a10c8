//! Refusals of the wallet as gRPC statuses; the words stay as they are.

use tonic::Status;

use crate::wallet::money::types::OwnerError;
use crate::wallet::owner::money::{ExportError, MoveError};
use crate::wallet::owner::receipts::LogError;
use crate::wallet::owner::{ConnectError, NamedError};

pub(super) fn connect_status(error: &ConnectError) -> Status {
    let words = error.to_string();
    match error {
        ConnectError::Taken(_) => Status::already_exists(words),
        ConnectError::Key(_) => Status::internal(words),
        ConnectError::Money(money) => owner_status(money),
        _ => Status::invalid_argument(words),
    }
}

pub(super) fn named_status(error: &NamedError) -> Status {
    match error {
        NamedError::NoConnection(_) => Status::not_found(error.to_string()),
        NamedError::RevokedBefore(_) | NamedError::NotSuspended(_) => Status::failed_precondition(error.to_string()),
        NamedError::Money(money) => owner_status(money),
    }
}

pub(super) fn owner_status(error: &OwnerError) -> Status {
    let words = error.to_string();
    match error {
        OwnerError::NoAccount => Status::not_found(words),
        OwnerError::NameTaken(_) => Status::already_exists(words),
        OwnerError::Busy => Status::unavailable(words),
        OwnerError::Failed => Status::internal(words),
        OwnerError::SafeMode(_)
        | OwnerError::NodeBalance
        | OwnerError::CannotReconcile(_)
        | OwnerError::NotEnough { .. }
        | OwnerError::TooMany(_) => Status::failed_precondition(words),
        OwnerError::BadName | OwnerError::BadAmount | OwnerError::BadConnection(_) => Status::invalid_argument(words),
    }
}

pub(super) fn move_status(error: &MoveError) -> Status {
    match error {
        MoveError::NoAccount(_) => Status::not_found(error.to_string()),
        MoveError::Same(_) => Status::invalid_argument(error.to_string()),
        MoveError::Money(money) => owner_status(money),
    }
}

pub(super) fn export_status(error: &ExportError) -> Status {
    match error {
        ExportError::NoAccount(_) => Status::not_found(error.to_string()),
        ExportError::Read(_) => Status::internal(error.to_string()),
    }
}

pub(super) fn log_status(error: &LogError) -> Status {
    match error {
        LogError::Named(named) => named_status(named),
        LogError::Read(_) => Status::internal(error.to_string()),
    }
}
