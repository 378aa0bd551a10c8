//! Wishes that wait for the owner: few, for ten minutes, in memory. A stranger can fill a page's room, never the owner's own.

use std::net::IpAddr;

use parking_lot::Mutex;

use super::wish::Wish;
use crate::base::hex32::{PublicKey, encode_lower};

/// How long a wish waits, and how long its outcome can be looked at.
pub const LIFE_S: u64 = 600;
/// Most wishes that came by the page.
pub const STRANGERS_MAX: usize = 64;
/// Most that one address (IPv6: one /64) may have waiting; what the owner has decided waits no longer.
pub const ADDRESS_MAX: usize = 4;
/// Most that the owner brought.
const OWN_MAX: usize = 64;
const HANDLE_BYTES: usize = 4;
const TOKEN_BYTES: usize = 16;

/// A wish that waits, or waited.
#[derive(Clone, Debug)]
pub struct Pending {
    /// What the owner calls it by, and what the page shows: eight hex digits.
    pub handle: String,
    /// Where its page is; nobody else can guess it.
    pub token: String,
    /// What is asked.
    pub wish: Wish,
    /// Unix seconds.
    pub asked_at_s: u64,
    /// Unix seconds.
    pub ends_at_s: u64,
    /// Whether it came by the page.
    pub from: Option<IpAddr>,
    /// What the owner said.
    pub outcome: Option<Outcome>,
}

/// What the owner said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The app may use this key of ours from now on.
    Granted {
        /// Our key for it.
        wallet: PublicKey,
    },
    /// It may not.
    Declined,
}

/// Why a wish was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// One address asks for too much.
    #[error("your address has {ADDRESS_MAX} requests waiting already; the wallet's owner has to decide about those first")]
    Address,
    /// All of them together.
    #[error("too many requests wait for the wallet's owner; try again in ten minutes")]
    Room,
    /// There is no randomness.
    #[error("the operating system gave no random bytes")]
    NoRandomness,
}

/// Why there is nothing to decide.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoWish {
    /// Nothing has that handle.
    #[error("no request {0} is waiting; it may have ended: they wait ten minutes. `hearth wallet pending` lists them")]
    Unknown(String),
    /// It was decided before.
    #[error("request {0} was decided before")]
    Decided(String),
}

/// The wishes.
#[derive(Debug, Default)]
pub struct Room {
    wishes: Mutex<Vec<Pending>>,
    deciding: tokio::sync::Mutex<()>,
}

impl Room {
    /// Takes a wish in. The same wish again is the one that waits already: a page may be loaded twice.
    pub fn ask(&self, wish: Wish, from: Option<IpAddr>, now_s: u64) -> Result<Pending, Full> {
        let mut all = self.wishes.lock();
        all.retain(|pending| pending.ends_at_s > now_s);
        let from = from.map(network);
        if let Some(same) = all.iter().find(|pending| pending.outcome.is_none() && pending.from == from && pending.wish == wish) {
            return Ok(same.clone());
        }
        let count = |same: &dyn Fn(&Pending) -> bool| all.iter().filter(|pending| same(pending)).count();
        if from.is_some() && count(&|pending| pending.from == from && pending.outcome.is_none()) >= ADDRESS_MAX {
            return Err(Full::Address);
        }
        let most = if from.is_some() { STRANGERS_MAX } else { OWN_MAX };
        if count(&|pending| pending.from.is_some() == from.is_some()) >= most {
            return Err(Full::Room);
        }
        let mut handle = random::<HANDLE_BYTES>()?;
        while all.iter().any(|pending| pending.handle == handle) {
            handle = random::<HANDLE_BYTES>()?;
        }
        let token = random::<TOKEN_BYTES>()?;
        let pending = Pending { handle, token, wish, asked_at_s: now_s, ends_at_s: now_s + LIFE_S, from, outcome: None };
        all.push(pending.clone());
        Ok(pending)
    }

    /// One decision at a time: a wish is granted once.
    pub(super) async fn deciding(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.deciding.lock().await
    }

    /// Those that the owner has not decided about, oldest first.
    pub fn waiting(&self, now_s: u64) -> Vec<Pending> {
        let all = self.wishes.lock();
        all.iter().filter(|pending| pending.outcome.is_none() && pending.ends_at_s > now_s).cloned().collect()
    }

    /// The one that waits under this handle.
    pub fn find(&self, handle: &str, now_s: u64) -> Result<Pending, NoWish> {
        let shown: String = handle.chars().take(64).collect();
        let all = self.wishes.lock();
        let found = all.iter().find(|pending| pending.handle == handle && pending.ends_at_s > now_s);
        match found {
            None => Err(NoWish::Unknown(shown)),
            Some(pending) if pending.outcome.is_some() => Err(NoWish::Decided(shown)),
            Some(pending) => Ok(pending.clone()),
        }
    }

    /// Notes what the owner said. Its page tells it for another ten minutes.
    pub fn decide(&self, handle: &str, outcome: Outcome, now_s: u64) {
        if let Some(pending) = self.wishes.lock().iter_mut().find(|pending| pending.handle == handle) {
            pending.outcome = Some(outcome);
            pending.ends_at_s = now_s + LIFE_S;
        }
    }

    /// What a page shows.
    pub fn look(&self, token: &str, now_s: u64) -> Option<Pending> {
        let all = self.wishes.lock();
        all.iter().find(|pending| pending.token == token && pending.ends_at_s > now_s).cloned()
    }
}

/// One subscriber of IPv6 has a whole /64.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(six) => match six.to_ipv4_mapped() {
            Some(four) => IpAddr::V4(four),
            None => IpAddr::V6((u128::from(six) & !u128::from(u64::MAX)).into()),
        },
    }
}

fn random<const N: usize>() -> Result<String, Full> {
    let mut bytes = [0_u8; N];
    getrandom::fill(&mut bytes).map_err(|_| Full::NoRandomness)?;
    let mut digits = vec![0_u8; N * 2];
    encode_lower(&bytes, &mut digits);
    String::from_utf8(digits).map_err(|_| Full::NoRandomness)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wallet::wire::method::MethodSet;

    fn wish(number: u32) -> Wish {
        let query = format!("pubkey={}&request_methods=get_info&name=app{number}", "ab".repeat(32));
        Wish::of_page(&query, MethodSet::all(), 1).unwrap()
    }

    fn from(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([10, 0, 0, last]))
    }

    #[test]
    fn a_wish_waits_ten_minutes_and_is_decided_once() {
        let room = Room::default();
        let pending = room.ask(wish(1), from(1), 100).unwrap();
        assert_eq!((pending.handle.len(), pending.token.len()), (8, 32));
        assert_eq!(room.ask(wish(1), from(1), 200).unwrap().handle, pending.handle, "a page that is loaded again");
        assert_eq!(room.waiting(699).len(), 1);
        assert!(room.waiting(700).is_empty() && room.find(&pending.handle, 700).is_err());
        assert!(room.look(&pending.token, 699).is_some() && room.look(&pending.token, 700).is_none());
        room.decide(&pending.handle, Outcome::Declined, 600);
        assert_eq!(room.find(&pending.handle, 601).unwrap_err(), NoWish::Decided(pending.handle.clone()));
        assert_eq!(room.look(&pending.token, 1_199).unwrap().outcome, Some(Outcome::Declined));
        assert!(room.look(&pending.token, 1_200).is_none() && room.look("", 601).is_none());
        assert!(room.waiting(601).is_empty());
    }

    #[test]
    fn strangers_fill_their_own_room_only() {
        let room = Room::default();
        for number in 0..4 {
            room.ask(wish(number), from(1), 100).unwrap();
        }
        assert_eq!(room.ask(wish(9), from(1), 100).unwrap_err(), Full::Address);
        let decided = room.waiting(100)[0].handle.clone();
        room.decide(&decided, Outcome::Declined, 100);
        room.ask(wish(9), from(1), 100).unwrap();
        assert_eq!(room.ask(wish(10), from(1), 100).unwrap_err(), Full::Address, "the rest still counts");
        for number in 5..64_u32 {
            room.ask(wish(number), from(u8::try_from(number).unwrap()), 100).unwrap();
        }
        assert_eq!(room.ask(wish(9), from(200), 100).unwrap_err(), Full::Room);
        room.ask(wish(9), None, 100).unwrap();
        assert!(room.ask(wish(9), from(1), 701).is_ok(), "what has ended makes room");
        let six = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        for last in 0..4 {
            room.ask(wish(last), six(&format!("2001:db8::{last}")), 800).unwrap();
        }
        assert_eq!(room.ask(wish(7), six("2001:db8::ffff:0:1"), 800).unwrap_err(), Full::Address);
    }
}
