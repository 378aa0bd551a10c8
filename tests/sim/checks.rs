//! What must hold of a world: after every turn, while it heals, and when everything has come to its end.

use super::super::super::record::Book;
use super::Verdict;
use super::books::Told;
use super::node::Standing;
use super::world::World;

impl World {
    /// The core's books against the second bookkeeper's.
    pub(super) fn check(&self) -> Verdict {
        ensure!(self.state.halted.is_none(), "safe mode: {:?}", self.state.halted);
        ensure!(self.state.ledger.sum_msat() == 0, "I3: all books sum to {}", self.state.ledger.sum_msat());
        for account in self.state.ledger.accounts() {
            let balance = self.books.balances.get(&Book::Account(account.id)).copied().unwrap_or(0);
            let held = self.books.held.get(&account.id).copied().unwrap_or(0);
            let here = (account.balance_msat, account.held.get());
            ensure!(here == (balance, held), "account {}: {here:?}, by the records {:?}", account.id.0, (balance, held));
        }
        let open = self.state.open.iter().map(|(hash, open)| (*hash, open.seq));
        ensure!(open.eq(self.books.open().iter().map(|(hash, seq)| (*hash, *seq))), "payments under way differ from the records");
        Ok(())
    }

    /// Whether nothing is under way any more.
    pub(super) fn is_quiet(&self) -> bool {
        self.state.open.is_empty()
            && self.state.making.is_empty()
            && self.state.holds.is_empty()
            && self.node.live().is_empty()
            && self.node.late().next().is_none()
            && self.cashier.holds().is_empty()
            && self.state.unwanted.is_empty()
            && self.inbox.is_empty()
            && self.acts.is_empty()
            && self.wire.is_empty()
    }

    /// In a world without faults that ticks once a minute: nothing waits for a clock that went back.
    pub(super) fn check_patience(&self) -> Verdict {
        ensure!(self.state.making.is_empty(), "a client waits for an invoice for minutes");
        let is_revoked = |id| self.state.connections.get(&id).is_none_or(|connection| !connection.row.rules.active);
        let left = self.state.holds.iter().find(|(_, hold)| hold.word.is_none() && is_revoked(hold.payee.connection));
        ensure!(left.is_none(), "nobody can decide about the hold invoice {:?}", left.map(|(hash, _)| hash));
        for hash in self.state.open.iter().filter(|(_, open)| !open.is_inside).map(|(hash, _)| hash) {
            let ago_ms = self.real_ms - self.asked_ms.get(hash).copied().unwrap_or(0);
            ensure!(ago_ms <= 130_000, "nobody has asked about {hash} for {ago_ms} ms");
        }
        Ok(())
    }

    /// After healing: every accepted request has its one answer, and the books say what the node did.
    pub(super) fn check_end(&self) -> Verdict {
        ensure!(self.waiting.is_empty(), "{} callers were never told", self.waiting.len());
        ensure!(self.cashier.reports.is_empty(), "{} reports were never acknowledged", self.cashier.reports.len());
        for (key, (_, told)) in &self.books.requests {
            let Told::Answered(event) = told else { return Err(format!("{} has no outcome", key.event)) };
            ensure!(!event.is_empty(), "the answer to {} is not stored", key.event);
        }
        for key in &self.accepted {
            ensure!(self.books.requests.contains_key(key), "the accepted request {} is gone", key.event);
        }
        ensure!(self.books.held.values().all(|held| *held == 0), "something is held for nothing");
        let overdrawn = self.books.balances.iter().any(|(book, balance)| matches!(book, Book::Account(_)) && *balance < 0);
        ensure!(!overdrawn || self.may_alarm, "an account is overdrawn");
        self.check_sums()
    }

    /// What left the node, and what the books say. Where the node said "failed" of what it paid, and the client then tried again with
    /// another amount, nobody can tell.
    fn check_sums(&self) -> Verdict {
        let tried = |hash| self.books.payments.values().filter(|paying| paying.hash == hash).count();
        if self.node.payments.iter().any(|one| one.lied && tried(one.order.hash) > 1) {
            return Ok(());
        }
        let (mut paid, mut fees) = (0, 0);
        for payment in &self.node.payments {
            if let Standing::Paid { fee } = payment.standing {
                paid += i128::from(payment.order.amount.get());
                fees += i128::from(fee);
            }
        }
        paid -= self.cashier.received();
        let book = |book| self.books.balances.get(&book).copied().unwrap_or(0);
        ensure!(
            (book(Book::Outside), book(Book::Fees)) == (paid, fees),
            "the node paid {paid} and {fees} fees, the books say {} and {}",
            book(Book::Outside),
            book(Book::Fees)
        );
        Ok(())
    }
}
