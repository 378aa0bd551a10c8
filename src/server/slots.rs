//! How many connections there are, in all and of each address. A connection holds a [`Slot`]; dropping it gives it back.

use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;

use super::client_ip::AddressKey;

/// Who has how many connections.
#[derive(Clone)]
pub struct Slots(Arc<Inner>);

struct Inner {
    in_all_max: usize,
    per_address_max: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    in_all: usize,
    by_address: HashMap<AddressKey, usize, foldhash::fast::RandomState>,
}

/// Why there is no slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoSlot {
    /// The address has as many as it may.
    Address,
    /// The relay is full.
    Full,
}

/// One connection. It counts in all, and under an address once that is known.
pub struct Slot {
    slots: Slots,
    address: Option<AddressKey>,
}

impl Slots {
    /// Nobody is there yet.
    pub fn new(in_all_max: usize, per_address_max: usize) -> Self {
        Self(Arc::new(Inner { in_all_max, per_address_max, taken: Mutex::default() }))
    }

    /// A slot for a TCP connection. Behind a proxy the client's address is not known yet: [`Slot::belongs_to`] tells it later.
    pub fn take(&self) -> Result<Slot, NoSlot> {
        let mut taken = self.0.taken.lock();
        if taken.in_all >= self.0.in_all_max {
            return Err(NoSlot::Full);
        }
        taken.in_all += 1;
        drop(taken);
        Ok(Slot { slots: self.clone(), address: None })
    }

    /// How many there are.
    pub fn in_all(&self) -> usize {
        self.0.taken.lock().in_all
    }
}

impl Slot {
    /// Counts this connection under an address, if that has not too many already.
    pub fn belongs_to(&mut self, ip: IpAddr) -> Result<(), NoSlot> {
        let key = AddressKey::of(ip);
        if self.address == Some(key) {
            return Ok(());
        }
        let mut taken = self.slots.0.taken.lock();
        let count = taken.by_address.entry(key).or_default();
        if *count >= self.slots.0.per_address_max {
            return Err(NoSlot::Address);
        }
        *count += 1;
        if let Some(before) = self.address.replace(key) {
            taken.give_back(before);
        }
        Ok(())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.0.taken.lock();
        taken.in_all -= 1;
        if let Some(key) = self.address {
            taken.give_back(key);
        }
    }
}

impl Taken {
    fn give_back(&mut self, key: AddressKey) {
        if let Some(count) = self.by_address.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_bounded_and_come_back() {
        let slots = Slots::new(3, 2);
        let ip: IpAddr = "192.0.2.1".parse().unwrap();
        let take = || {
            let mut slot = slots.take()?;
            slot.belongs_to(ip).map(|()| slot)
        };
        let first = take().unwrap_or_else(|_| unreachable!());
        let _second = take().unwrap_or_else(|_| unreachable!());
        assert_eq!(take().err(), Some(NoSlot::Address));
        let _other = slots.take();
        assert_eq!(slots.take().err(), Some(NoSlot::Full));
        drop(first);
        assert!(take().is_ok());
        assert_eq!(slots.in_all(), 2);
    }

    #[test]
    fn no_address_is_remembered_after_its_last_connection() {
        let slots = Slots::new(10, 10);
        for last in 0..10_u8 {
            let mut slot = slots.take().unwrap_or_else(|_| unreachable!());
            assert!(slot.belongs_to(IpAddr::from([10, 0, 0, last])).is_ok());
            assert!(slot.belongs_to(IpAddr::from([10, 0, 1, last])).is_ok());
        }
        assert_eq!(slots.0.taken.lock().by_address.len(), 0);
    }
}
