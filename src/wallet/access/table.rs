//! The connections in memory, by wallet key: what the relay's first question looks at.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use parking_lot::RwLock;
use secp256k1::Keypair;

use super::connection::Profile;
use super::rate::{Config, Gate};
use crate::base::hex32::PublicKey;
use crate::wallet::terms::{AccountId, ConnectionId, Scheme};
use crate::wallet::wire::envelope::{BadPeer, Envelope};
use crate::wallet::wire::sign::public_key;

/// The keys of one connection, computed once.
pub struct Keys {
    /// Ours.
    pub keypair: Keypair,
    /// Public half of it.
    pub wallet: PublicKey,
    /// The client's.
    pub client: PublicKey,
    /// What encrypts between the two.
    pub envelope: Envelope,
}

impl Keys {
    /// The keys between our key and a client's.
    pub fn new(keypair: Keypair, client: PublicKey) -> Result<Self, BadPeer> {
        Ok(Self { wallet: public_key(&keypair), client, envelope: Envelope::new(&keypair, &client)?, keypair })
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("wallet", &self.wallet).field("client", &self.client).finish_non_exhaustive()
    }
}

/// A connection that is hosted here. A change makes a new one that shares keys, buckets and clock with the old.
#[derive(Clone, Debug)]
pub struct Hosted {
    /// Its number.
    pub id: ConnectionId,
    /// The account it spends from and receives into.
    pub account: AccountId,
    /// Everything else that is stored.
    pub profile: Profile,
    /// Its keys.
    pub keys: Arc<Keys>,
    gate: Arc<Gate>,
    seen_at_s: Arc<AtomicU64>,
    scheme: Arc<AtomicU8>,
    listens: Arc<AtomicU8>,
}

/// How [`Hosted::spoken`] is kept: 0 is nothing yet.
const SPOKE_NIP44: u8 = 1;
const SPOKE_NIP04: u8 = 2;
/// Bits of what [`Hosted::listens`] has seen.
const LISTENS_NIP44: u8 = 1;
const LISTENS_NIP04: u8 = 2;

impl Hosted {
    /// A connection that has just been made or read.
    pub fn new(id: ConnectionId, account: AccountId, profile: Profile, keys: Arc<Keys>, rate: &Config) -> Self {
        let gate = Arc::new(Gate::new(rate));
        let (seen_at_s, scheme, listens) = (Arc::default(), Arc::default(), Arc::default());
        let hosted = Self { id, account, profile, keys, gate, seen_at_s, scheme, listens };
        if let Some(scheme) = hosted.profile.spoken {
            hosted.spoke(scheme);
        }
        hosted
    }

    /// The same connection with another profile.
    #[must_use]
    pub fn with_profile(&self, profile: Profile) -> Self {
        Self { profile, ..self.clone() }
    }

    /// Its buckets.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Notes that its client asked for something.
    pub fn seen(&self, now_s: u64) {
        self.seen_at_s.store(now_s, Ordering::Relaxed);
    }

    /// Notes in which scheme its client asked: the best evidence of which notifications it can read.
    pub fn spoke(&self, scheme: Scheme) {
        let code = if scheme == Scheme::Nip44 { SPOKE_NIP44 } else { SPOKE_NIP04 };
        self.scheme.store(code, Ordering::Relaxed);
    }

    /// The scheme of its client's last request, as far as it is known.
    pub fn spoken(&self) -> Option<Scheme> {
        match self.scheme.load(Ordering::Relaxed) {
            SPOKE_NIP44 => Some(Scheme::Nip44),
            SPOKE_NIP04 => Some(Scheme::Nip04),
            _ => None,
        }
    }

    /// Notes that somebody subscribed to its notifications in this scheme. Weak evidence, since others can do so too: it only adds up.
    pub fn listens(&self, scheme: Scheme) {
        let bit = if scheme == Scheme::Nip44 { LISTENS_NIP44 } else { LISTENS_NIP04 };
        self.listens.fetch_or(bit, Ordering::Relaxed);
    }

    /// The schemes in which its client can be told something: that of its last request, else those that were subscribed to, else both.
    pub fn hears(&self) -> &'static [Scheme] {
        match (self.spoken(), self.listens.load(Ordering::Relaxed)) {
            (Some(Scheme::Nip44), _) | (None, LISTENS_NIP44) => &[Scheme::Nip44],
            (Some(Scheme::Nip04), _) | (None, LISTENS_NIP04) => &[Scheme::Nip04],
            (None, _) => &[Scheme::Nip44, Scheme::Nip04],
        }
    }

    /// When its client last asked since the process started, unix seconds.
    pub fn seen_at_s(&self) -> Option<u64> {
        Some(self.seen_at_s.load(Ordering::Relaxed)).filter(|at_s| *at_s > 0)
    }
}

/// All hosted connections, revoked ones too.
#[derive(Default)]
pub struct Table(RwLock<Maps>);

#[derive(Default)]
struct Maps {
    by_wallet: HashMap<PublicKey, Arc<Hosted>, RandomState>,
    by_id: HashMap<ConnectionId, Arc<Hosted>, RandomState>,
    /// A connection never changes its account.
    by_account: HashMap<AccountId, Vec<ConnectionId>, RandomState>,
    /// Nor its client.
    by_client: HashMap<PublicKey, Vec<ConnectionId>, RandomState>,
}

impl Table {
    /// The connection whose wallet key this is.
    pub fn get(&self, wallet: &PublicKey) -> Option<Arc<Hosted>> {
        self.0.read().by_wallet.get(wallet).cloned()
    }

    /// Whether a wallet key is hosted here.
    pub fn has(&self, wallet: &PublicKey) -> bool {
        self.0.read().by_wallet.contains_key(wallet)
    }

    /// The connection of that number.
    pub fn by_id(&self, id: ConnectionId) -> Option<Arc<Hosted>> {
        self.0.read().by_id.get(&id).cloned()
    }

    /// Puts a connection in, in place of an older state of it.
    pub fn put(&self, hosted: Hosted) -> Arc<Hosted> {
        let hosted = Arc::new(hosted);
        let mut maps = self.0.write();
        maps.by_wallet.insert(hosted.keys.wallet, Arc::clone(&hosted));
        if maps.by_id.insert(hosted.id, Arc::clone(&hosted)).is_none() {
            maps.by_account.entry(hosted.account).or_default().push(hosted.id);
            maps.by_client.entry(hosted.keys.client).or_default().push(hosted.id);
        }
        hosted
    }

    /// The connections of an account, by number.
    pub fn of_account(&self, account: AccountId) -> Vec<Arc<Hosted>> {
        let maps = self.0.read();
        let ids = maps.by_account.get(&account).map_or(&[][..], Vec::as_slice);
        let mut found: Vec<_> = ids.iter().filter_map(|id| maps.by_id.get(id)).cloned().collect();
        found.sort_unstable_by_key(|hosted| hosted.id);
        found
    }

    /// The connections of a client's key, at most so many.
    pub fn of_client(&self, client: &PublicKey, most: usize) -> Vec<Arc<Hosted>> {
        let maps = self.0.read();
        let ids = maps.by_client.get(client).map_or(&[][..], Vec::as_slice);
        ids.iter().rev().take(most).filter_map(|id| maps.by_id.get(id)).cloned().collect()
    }

    /// All of them, by number.
    pub fn all(&self) -> Vec<Arc<Hosted>> {
        let mut all: Vec<_> = self.0.read().by_id.values().cloned().collect();
        all.sort_unstable_by_key(|hosted| hosted.id);
        all
    }

    /// The connections that a connection made and that nobody has revoked, by number. A walk over all: for what is rare.
    pub fn made_by(&self, maker: ConnectionId) -> Vec<Arc<Hosted>> {
        let is_its = |hosted: &&Arc<Hosted>| {
            let profile = &hosted.profile;
            profile.revoked_at_s.is_none() && profile.made_by.is_some_and(|made_by| made_by.connection == maker)
        };
        let mut made: Vec<_> = self.0.read().by_id.values().filter(is_its).cloned().collect();
        made.sort_unstable_by_key(|hosted| hosted.id);
        made
    }

    /// The living connection of that name, else the one of that name that was revoked last.
    pub fn by_name(&self, name: &str) -> Option<Arc<Hosted>> {
        let maps = self.0.read();
        let named = maps.by_id.values().filter(|hosted| hosted.profile.name == name);
        named.max_by_key(|hosted| (hosted.profile.revoked_at_s.is_none(), hosted.profile.revoked_at_s, hosted.id)).cloned()
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("connections", &self.0.read().by_id.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::secret::Secret;
    use crate::wallet::access::connection::Announced;
    use crate::wallet::access::keys::{WalletSeed, new_client};
    use crate::wallet::wire::method::MethodSet;
    use crate::wallet::wire::notification::NotificationSet;

    fn hosted(number: u32, name: &str, revoked_at_s: Option<u64>) -> Hosted {
        let seed = WalletSeed::new(Secret::new([1; 32]));
        let client = new_client().unwrap().1;
        let keys = Keys::new(seed.keypair(ConnectionId(number)).unwrap(), client).unwrap();
        let profile = Profile {
            name: name.to_owned(),
            wallet: keys.wallet,
            client,
            methods: MethodSet::all(),
            notifications: NotificationSet::all(),
            nip04: true,
            created_at_s: 1,
            expires_at_s: None,
            revoked_at_s,
            relays: Vec::new(),
            state: None,
            announced: Announced::default(),
            made_by: None,
            spoken: None,
        };
        Hosted::new(ConnectionId(number), AccountId::MAIN, profile, Arc::new(keys), &Config::default())
    }

    #[test]
    fn a_name_means_the_living_connection_then_the_latest_revoked() {
        let table = Table::default();
        table.put(hosted(1, "phone", Some(10)));
        table.put(hosted(2, "phone", Some(30)));
        table.put(hosted(3, "phone", Some(20)));
        assert_eq!(table.by_name("phone").map(|found| found.id), Some(ConnectionId(2)));
        table.put(hosted(4, "phone", None));
        assert_eq!(table.by_name("phone").map(|found| found.id), Some(ConnectionId(4)));
        assert!(table.by_name("pad").is_none());
        assert_eq!(table.all().len(), 4);
    }

    #[test]
    fn what_is_subscribed_to_counts_until_the_client_speaks() {
        let table = Table::default();
        let made = table.put(hosted(1, "phone", None));
        assert_eq!(made.hears(), [Scheme::Nip44, Scheme::Nip04]);
        made.listens(Scheme::Nip04);
        assert_eq!(made.hears(), [Scheme::Nip04]);
        made.listens(Scheme::Nip44);
        assert_eq!(made.hears(), [Scheme::Nip44, Scheme::Nip04], "a stranger who subscribes takes nothing away");
        made.spoke(Scheme::Nip44);
        assert_eq!(made.hears(), [Scheme::Nip44]);
        let found = table.of_client(&made.keys.client, 1);
        assert_eq!(found.iter().map(|hosted| hosted.id).collect::<Vec<_>>(), [ConnectionId(1)]);
        assert!(table.of_client(&made.keys.wallet, 1).is_empty());
    }

    #[test]
    fn a_change_keeps_the_buckets_and_the_clock() {
        let table = Table::default();
        let before = table.put(hosted(1, "phone", None));
        before.seen(99);
        assert_eq!(before.spoken(), None);
        before.spoke(Scheme::Nip04);
        let mut profile = before.profile.clone();
        profile.revoked_at_s = Some(100);
        let after = table.put(before.with_profile(profile));
        assert_eq!((after.seen_at_s(), after.spoken()), (Some(99), Some(Scheme::Nip04)));
        assert_eq!(table.of_account(AccountId::MAIN).len(), 1, "a change is no second connection");
        assert!(table.of_account(AccountId(1)).is_empty());
        assert!(std::ptr::eq(before.gate(), after.gate()));
        assert_eq!(table.get(&before.keys.wallet).and_then(|found| found.profile.revoked_at_s), Some(100));
        assert!(!format!("{after:?}").contains("keypair"));
    }
}
