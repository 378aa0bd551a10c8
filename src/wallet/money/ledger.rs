//! The double-entry ledger: balances of the accounts and of the three books that stand for everybody else.
//!
//! Every movement is a list of postings that sums to zero, so all books together always do (I3). Holds are beside the books: an
//! amount that is held is still the account's own and cannot be spent a second time.

use std::collections::BTreeMap;

use super::record::{Book, Posting};
use super::types::{AccountId, AccountView};
use crate::base::amount::Msat;

/// Why a movement was not booked. Each is a broken invariant, not an everyday refusal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// I3.
    #[error("postings sum to {0} msat instead of zero")]
    NotZero(i128),
    /// A posting names an account that does not exist.
    #[error("there is no account {}", .0.0)]
    NoAccount(AccountId),
    /// Less is held than is to be released.
    #[error("account {} holds {held}, {released} were to be released", .account.0)]
    HoldMissing {
        /// The account.
        account: AccountId,
        /// What it holds.
        held: Msat,
        /// What was to be released.
        released: Msat,
    },
    /// An account of that number exists.
    #[error("account {} exists", .0.0)]
    AccountExists(AccountId),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Account {
    name: String,
    balance_msat: i128,
    held: Msat,
}

/// All books.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    accounts: BTreeMap<AccountId, Account>,
    fees_msat: i128,
    outside_msat: i128,
    funding_msat: i128,
}

impl Ledger {
    /// Makes an account.
    pub fn create(&mut self, id: AccountId, name: &str) -> Result<(), LedgerError> {
        if self.accounts.contains_key(&id) {
            return Err(LedgerError::AccountExists(id));
        }
        self.accounts.insert(id, Account { name: name.to_owned(), balance_msat: 0, held: Msat::ZERO });
        Ok(())
    }

    /// Books a movement, whole or not at all.
    pub fn post(&mut self, postings: &[Posting]) -> Result<(), LedgerError> {
        let sum: i128 = postings.iter().map(|posting| i128::from(posting.msat)).sum();
        if sum != 0 {
            return Err(LedgerError::NotZero(sum));
        }
        for posting in postings {
            if let Book::Account(id) = posting.book {
                self.accounts.get(&id).ok_or(LedgerError::NoAccount(id))?;
            }
        }
        for posting in postings {
            if let Some(balance_msat) = self.book_mut(posting.book) {
                *balance_msat += i128::from(posting.msat);
            }
        }
        Ok(())
    }

    fn book_mut(&mut self, book: Book) -> Option<&mut i128> {
        match book {
            Book::Account(id) => self.accounts.get_mut(&id).map(|account| &mut account.balance_msat),
            Book::Fees => Some(&mut self.fees_msat),
            Book::Outside => Some(&mut self.outside_msat),
            Book::Funding => Some(&mut self.funding_msat),
        }
    }

    /// Holds an amount. Whether the account can afford it was decided before.
    pub fn hold(&mut self, id: AccountId, amount: Msat) -> Result<(), LedgerError> {
        let account = self.accounts.get_mut(&id).ok_or(LedgerError::NoAccount(id))?;
        account.held = account.held.checked_add(amount).unwrap_or(Msat::MAX);
        Ok(())
    }

    /// Releases a held amount.
    pub fn release(&mut self, id: AccountId, amount: Msat) -> Result<(), LedgerError> {
        let account = self.accounts.get_mut(&id).ok_or(LedgerError::NoAccount(id))?;
        let held = account.held;
        account.held = held.checked_sub(amount).ok_or(LedgerError::HoldMissing { account: id, held, released: amount })?;
        Ok(())
    }

    /// An account as its owner sees it.
    pub fn account(&self, id: AccountId) -> Option<AccountView> {
        self.accounts.get(&id).map(|account| view(id, account))
    }

    /// What the account can spend; `None` if there is no such account.
    pub fn spendable(&self, id: AccountId) -> Option<Msat> {
        let account = self.accounts.get(&id)?;
        let free = account.balance_msat - i128::from(account.held.get());
        Some(u64::try_from(free).ok().and_then(|msat| Msat::new(msat).ok()).unwrap_or(Msat::ZERO))
    }

    /// What all accounts but `main` own together. Follows from the other books, since all of them sum to zero.
    pub fn isolated_msat(&self) -> i128 {
        let main = self.accounts.get(&AccountId::MAIN).map_or(0, |account| account.balance_msat);
        -(main + self.fees_msat + self.outside_msat + self.funding_msat)
    }

    /// All accounts by number.
    pub fn accounts(&self) -> impl Iterator<Item = AccountView> + '_ {
        self.accounts.iter().map(|(id, account)| view(*id, account))
    }

    /// The account of that name.
    pub fn named(&self, name: &str) -> Option<AccountId> {
        self.accounts.iter().find(|(_, account)| account.name == name).map(|(id, _)| *id)
    }

    /// How many accounts there are.
    pub fn len(&self) -> usize {
        self.accounts.len()
    }

    /// Whether there is no account.
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    /// The sum over all books: zero, always (I3).
    pub fn sum_msat(&self) -> i128 {
        let accounts: i128 = self.accounts.values().map(|account| account.balance_msat).sum();
        accounts + self.fees_msat + self.outside_msat + self.funding_msat
    }
}

fn view(id: AccountId, account: &Account) -> AccountView {
    AccountView { id, name: account.name.clone(), balance_msat: account.balance_msat, held: account.held }
}

/// The two legs of a movement between accounts.
pub fn transfer(from: Book, to: Book, amount: Msat) -> Vec<Posting> {
    let msat = signed(amount);
    vec![Posting { book: from, msat: -msat }, Posting { book: to, msat }]
}

/// The legs of a payment to somebody outside.
pub fn payment(from: AccountId, amount: Msat, fee: Msat) -> Vec<Posting> {
    let (paid, cost) = (signed(amount), signed(fee));
    vec![
        Posting { book: Book::Account(from), msat: -(paid + cost) },
        Posting { book: Book::Outside, msat: paid },
        Posting { book: Book::Fees, msat: cost },
    ]
}

/// [`Msat::MAX`] fits an i64 four times over, so the sum of two amounts does too.
fn signed(amount: Msat) -> i64 {
    i64::try_from(amount.get()).unwrap_or(i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn msat(msat: u64) -> Msat {
        Msat::new(msat).unwrap()
    }

    #[test]
    fn a_movement_is_booked_whole_or_not_at_all() {
        let mut ledger = Ledger::default();
        ledger.create(AccountId(0), "main").unwrap();
        ledger.create(AccountId(1), "demo").unwrap();
        assert_eq!(ledger.create(AccountId(1), "again"), Err(LedgerError::AccountExists(AccountId(1))));
        ledger.post(&transfer(Book::Funding, Book::Account(AccountId(1)), msat(1_000))).unwrap();
        ledger.post(&payment(AccountId(1), msat(600), msat(7))).unwrap();
        assert_eq!(ledger.account(AccountId(1)).unwrap().balance_msat, 393);
        let before = ledger.clone();
        let lame = [Posting { book: Book::Account(AccountId(1)), msat: 5 }, Posting { book: Book::Fees, msat: -4 }];
        assert_eq!(ledger.post(&lame), Err(LedgerError::NotZero(1)));
        let unknown = transfer(Book::Account(AccountId(1)), Book::Account(AccountId(9)), msat(5));
        assert_eq!(ledger.post(&unknown), Err(LedgerError::NoAccount(AccountId(9))));
        assert_eq!((ledger.clone(), ledger.sum_msat()), (before, 0));
    }

    #[test]
    fn what_is_held_cannot_be_spent_and_not_more_is_released() {
        let mut ledger = Ledger::default();
        ledger.create(AccountId(0), "main").unwrap();
        ledger.post(&transfer(Book::Funding, Book::Account(AccountId(0)), msat(100))).unwrap();
        ledger.hold(AccountId(0), msat(60)).unwrap();
        assert_eq!(ledger.account(AccountId(0)).unwrap().spendable(), msat(40));
        assert!(ledger.release(AccountId(0), msat(61)).is_err());
        ledger.release(AccountId(0), msat(60)).unwrap();
        assert_eq!(ledger.account(AccountId(0)).unwrap().spendable(), msat(100));
    }
}
