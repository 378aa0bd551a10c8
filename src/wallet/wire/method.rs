//! The methods of NIP-47 that this wallet knows by name, and sets of them.

use std::fmt;

use crate::wallet::terms;

/// A method that can be granted to a connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Method {
    /// Pays a BOLT 11 invoice.
    PayInvoice,
    /// Makes a BOLT 11 invoice.
    MakeInvoice,
    /// Looks up one invoice or payment.
    LookupInvoice,
    /// Lists invoices and payments.
    ListTransactions,
    /// What the account holds.
    GetBalance,
    /// What the wallet is and can do.
    GetInfo,
    /// What the budget leaves (de facto, nips#1504).
    GetBudget,
    /// Pays a node without an invoice (extension 04).
    PayKeysend,
    /// Pays several invoices (for old clients).
    MultiPayInvoice,
    /// Pays several nodes without an invoice (for old clients).
    MultiPayKeysend,
    /// Makes an invoice whose payment waits for a decision (extension 03).
    MakeHoldInvoice,
    /// Takes a payment that waits (extension 03).
    SettleHoldInvoice,
    /// Sends a payment that waits back (extension 03).
    CancelHoldInvoice,
    /// Pays what a BIP 321 URI names (extension 321).
    Pay,
    /// Makes a BIP 321 URI (extension 321).
    Receive,
    /// Signs a text with the node's key (de facto).
    SignMessage,
    /// Makes a connection for another app (de facto); must be granted by name.
    CreateConnection,
}

impl Method {
    /// All of them, in the order in which they are listed.
    pub const ALL: [Self; 17] = [
        Self::PayInvoice,
        Self::MakeInvoice,
        Self::LookupInvoice,
        Self::ListTransactions,
        Self::GetBalance,
        Self::GetInfo,
        Self::GetBudget,
        Self::PayKeysend,
        Self::MultiPayInvoice,
        Self::MultiPayKeysend,
        Self::MakeHoldInvoice,
        Self::SettleHoldInvoice,
        Self::CancelHoldInvoice,
        Self::Pay,
        Self::Receive,
        Self::SignMessage,
        Self::CreateConnection,
    ];

    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PayInvoice => terms::Method::PayInvoice.as_str(),
            Self::MakeInvoice => terms::Method::MakeInvoice.as_str(),
            Self::LookupInvoice => "lookup_invoice",
            Self::ListTransactions => "list_transactions",
            Self::GetBalance => "get_balance",
            Self::GetInfo => "get_info",
            Self::GetBudget => "get_budget",
            Self::PayKeysend => terms::Method::PayKeysend.as_str(),
            Self::MultiPayInvoice => terms::Method::MultiPayInvoice.as_str(),
            Self::MultiPayKeysend => terms::Method::MultiPayKeysend.as_str(),
            Self::MakeHoldInvoice => terms::Method::MakeHoldInvoice.as_str(),
            Self::SettleHoldInvoice => "settle_hold_invoice",
            Self::CancelHoldInvoice => "cancel_hold_invoice",
            Self::Pay => terms::Method::Pay.as_str(),
            Self::Receive => terms::Method::Receive.as_str(),
            Self::SignMessage => "sign_message",
            Self::CreateConnection => "create_connection",
        }
    }

    /// The method of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == name)
    }

    /// The method that a client means: `nwcjs` writes `hodl` for `hold`.
    pub fn asked(name: &str) -> Option<Self> {
        match name {
            "make_hodl_invoice" => Some(Self::MakeHoldInvoice),
            "settle_hodl_invoice" => Some(Self::SettleHoldInvoice),
            "cancel_hodl_invoice" => Some(Self::CancelHoldInvoice),
            _ => Self::parse(name),
        }
    }

    /// Whether it moves this account's money away: such requests are remembered.
    pub const fn is_payment(self) -> bool {
        matches!(self, Self::PayInvoice | Self::PayKeysend | Self::Pay) || self.is_several()
    }

    /// Whether it has several items, each with an answer of its own.
    pub const fn is_several(self) -> bool {
        matches!(self, Self::MultiPayInvoice | Self::MultiPayKeysend)
    }

    /// Whether released clients with a closed list of methods know it: such a client (the `nwc` crate up to 0.44, of which only
    /// the last has hold invoices) cannot decode a `get_info` whose list names any other.
    pub const fn is_known_to_old_clients(self) -> bool {
        matches!(
            self,
            Self::PayInvoice
                | Self::MakeInvoice
                | Self::LookupInvoice
                | Self::ListTransactions
                | Self::GetBalance
                | Self::GetInfo
                | Self::PayKeysend
                | Self::MultiPayInvoice
                | Self::MultiPayKeysend
        )
    }

    /// Whether it is a method of extension 321, whose refusals have codes of their own; all others know core codes only.
    pub const fn is_321(self) -> bool {
        matches!(self, Self::Pay | Self::Receive)
    }

    const fn bit(self) -> u32 {
        1 << self as u8
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of methods.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct MethodSet(u32);

impl MethodSet {
    /// None.
    pub const EMPTY: Self = Self(0);

    /// All that are known.
    pub fn all() -> Self {
        Method::ALL.into_iter().collect()
    }

    /// What a connection gets for which no method is named: everything but the right to make other connections.
    pub fn usual() -> Self {
        Method::ALL.into_iter().filter(|method| *method != Method::CreateConnection).collect()
    }

    /// All that take money or look, and none that spends, signs or gives rights on.
    pub fn receive_only() -> Self {
        Method::ALL
            .into_iter()
            .filter(|method| {
                !matches!(
                    method,
                    Method::PayInvoice
                        | Method::MultiPayInvoice
                        | Method::PayKeysend
                        | Method::MultiPayKeysend
                        | Method::Pay
                        | Method::SignMessage
                        | Method::CreateConnection
                )
            })
            .collect()
    }

    /// Whether it holds a method.
    pub const fn has(self, method: Method) -> bool {
        self.0 & method.bit() != 0
    }

    /// What is in both.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether it holds none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its methods in the order of [`Method::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Method> {
        Method::ALL.into_iter().filter(move |method| self.has(*method))
    }

    /// The names, separated by spaces, as kind 13194 wants them.
    pub fn words(self) -> String {
        let names: Vec<&str> = self.iter().map(Method::as_str).collect();
        names.join(" ")
    }
}

impl FromIterator<Method> for MethodSet {
    fn from_iter<I: IntoIterator<Item = Method>>(methods: I) -> Self {
        Self(methods.into_iter().fold(0, |bits, method| bits | method.bit()))
    }
}

impl fmt::Debug for MethodSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back_and_no_other() {
        for method in Method::ALL {
            assert_eq!(Method::parse(method.as_str()), Some(method));
        }
        for bad in ["", "PAY_INVOICE", "pay_invoice ", "levitate", "make_hodl_invoice"] {
            assert_eq!(Method::parse(bad), None, "{bad:?} was read");
        }
    }

    #[test]
    fn misspelt_names_are_understood_where_a_client_asks() {
        assert_eq!(Method::asked("settle_hodl_invoice"), Some(Method::SettleHoldInvoice));
        assert_eq!(Method::asked("settle_hold_invoice"), Some(Method::SettleHoldInvoice));
        assert_eq!(Method::asked("lookup_hodl_invoice"), None);
    }

    #[test]
    fn the_right_to_make_connections_is_never_given_unasked() {
        assert!(!MethodSet::usual().has(Method::CreateConnection));
        assert_eq!(MethodSet::usual().iter().count(), Method::ALL.len() - 1);
    }

    #[test]
    fn sets_list_their_methods_in_one_order() {
        let set: MethodSet = [Method::GetInfo, Method::PayInvoice].into_iter().collect();
        assert_eq!(set.words(), "pay_invoice get_info");
        assert!(!set.has(Method::GetBalance));
        assert_eq!(MethodSet::all().iter().count(), Method::ALL.len());
    }
}
