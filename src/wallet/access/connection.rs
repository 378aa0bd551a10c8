//! What a connection is besides money: a name, the client's key, methods, an end. Kept as JSON in the connection's row.

use serde::{Deserialize, Serialize};

use crate::base::hex32::{Hex32, PublicKey};
use crate::wallet::terms::{ConnectionId, Scheme};
use crate::wallet::wire::envelope::scheme_named;
use crate::wallet::wire::info_event::{Announcement, Offer};
use crate::wallet::wire::method::{Method, MethodSet};
use crate::wallet::wire::notification::{Notification, NotificationSet};

/// Version of the JSON.
const VERSION: u32 = 1;
/// Longest name.
pub const NAME_MAX_CHARS: usize = 64;

/// A connection, but for its number and for what it may do with money.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Profile {
    /// What the owner calls it.
    pub name: String,
    /// Our key for it, derived from the seed; kept to notice a seed that belongs to another wallet.
    pub wallet: PublicKey,
    /// The only author whose requests count.
    pub client: PublicKey,
    /// What it may ask for.
    pub methods: MethodSet,
    /// What it is told without asking.
    pub notifications: NotificationSet,
    /// Whether NIP-04 is served.
    pub nip04: bool,
    /// Unix seconds.
    pub created_at_s: u64,
    /// Unix seconds; from then on the key is told UNAUTHORIZED.
    pub expires_at_s: Option<u64>,
    /// Unix seconds; the key is remembered for ever.
    pub revoked_at_s: Option<u64>,
    /// Relays of its pairing code; empty: this hearth's own.
    pub relays: Vec<String>,
    /// What the app asked for it by, echoed in kind 13194 so that it finds its answer.
    pub state: Option<String>,
    /// What its kind 13194 says and since when.
    pub announced: Announced,
    /// The connection that made it, where that was not the owner.
    pub made_by: Option<MadeBy>,
    /// In which scheme its client spoke, as far as that outlives the process: the first one, and NIP-44 once it was used.
    pub spoken: Option<Scheme>,
}

/// Who made a connection for another app, and how it was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MadeBy {
    /// Number of the connection that asked.
    #[serde(with = "number")]
    pub connection: ConnectionId,
    /// Digest of all that it asked for.
    pub terms: Hex32,
}

/// A connection's number in the JSON.
mod number {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::wallet::terms::ConnectionId;

    pub(super) fn serialize<S: Serializer>(id: &ConnectionId, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u32(id.0)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<ConnectionId, D::Error> {
        u32::deserialize(from).map(ConnectionId)
    }
}

/// The last announcement: the event is made from it again whenever it is needed.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Announced {
    /// `created_at` of the event, unix seconds.
    pub at_s: u64,
    /// [`Announcement::digest`].
    pub digest: String,
}

/// Whether and why a connection is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It is not.
    Active,
    /// Its time is up, since this unix second.
    Expired(u64),
    /// Its owner ended it, at this unix second.
    Revoked(u64),
}

/// Why a name cannot be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a name has 1 to {NAME_MAX_CHARS} printable characters, none of them at its ends a space")]
pub struct BadName;

/// Why a row cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRow {
    /// It is no JSON of ours.
    #[error("the record is damaged: {0}")]
    Damaged(String),
    /// A newer hearth wrote it.
    #[error("the record has version {0}, this hearth reads {VERSION}")]
    Newer(u32),
}

#[derive(Serialize, Deserialize)]
struct Row {
    v: u32,
    name: String,
    wallet: PublicKey,
    client: PublicKey,
    methods: Vec<String>,
    /// Missing in rows of before there were notifications: all of them.
    #[serde(default)]
    notifications: Option<Vec<String>>,
    nip04: bool,
    created_at_s: u64,
    expires_at_s: Option<u64>,
    revoked_at_s: Option<u64>,
    #[serde(default)]
    relays: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    announced: Announced,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    made_by: Option<MadeBy>,
    #[serde(default)]
    spoken: Option<String>,
}

impl Profile {
    /// The bytes of the row.
    pub fn encode(&self) -> Vec<u8> {
        let row = Row {
            v: VERSION,
            name: self.name.clone(),
            wallet: self.wallet,
            client: self.client,
            methods: self.methods.iter().map(|method| method.as_str().to_owned()).collect(),
            notifications: Some(self.notifications.iter().map(|one| one.as_str().to_owned()).collect()),
            nip04: self.nip04,
            created_at_s: self.created_at_s,
            expires_at_s: self.expires_at_s,
            revoked_at_s: self.revoked_at_s,
            relays: self.relays.clone(),
            state: self.state.clone(),
            announced: self.announced.clone(),
            made_by: self.made_by,
            spoken: self.spoken.map(|scheme| scheme.as_str().to_owned()),
        };
        // A struct of numbers and texts always serialises.
        serde_json::to_vec(&row).unwrap_or_default()
    }

    /// Reads the bytes of a row. Methods and notifications that this hearth does not know are left out: it could not serve them.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRow> {
        let row: Row = serde_json::from_slice(bytes).map_err(|error| BadRow::Damaged(error.to_string()))?;
        if row.v > VERSION {
            return Err(BadRow::Newer(row.v));
        }
        Ok(Self {
            name: row.name,
            wallet: row.wallet,
            client: row.client,
            methods: row.methods.iter().filter_map(|name| Method::parse(name)).collect(),
            notifications: row
                .notifications
                .map_or_else(NotificationSet::all, |names| names.iter().filter_map(|name| Notification::parse(name)).collect()),
            nip04: row.nip04,
            created_at_s: row.created_at_s,
            expires_at_s: row.expires_at_s,
            revoked_at_s: row.revoked_at_s,
            relays: row.relays,
            state: row.state,
            announced: row.announced,
            made_by: row.made_by,
            spoken: row.spoken.as_deref().and_then(scheme_named),
        })
    }

    /// Whether what its client spoke last is worth storing. A client that goes back to NIP-04 writes nothing: a connection must not
    /// be able to fill the journal by changing its mind.
    pub fn is_new(&self, last: Option<Scheme>) -> bool {
        matches!((self.spoken, last), (None, Some(_)) | (Some(Scheme::Nip04), Some(Scheme::Nip44)))
    }

    /// Whether it is over.
    pub fn standing(&self, now_s: u64) -> Standing {
        match (self.revoked_at_s, self.expires_at_s) {
            (Some(at_s), _) => Standing::Revoked(at_s),
            (None, Some(at_s)) if now_s >= at_s => Standing::Expired(at_s),
            _ => Standing::Active,
        }
    }

    /// What it can do now: of what was granted, that which the back end can do (`able`); nothing at all once it is over.
    pub fn offer(&self, now_s: u64, able: MethodSet) -> Offer {
        let nip04 = self.nip04;
        if self.standing(now_s) != Standing::Active {
            return Offer { nip04, ..Offer::default() };
        }
        let methods = self.methods.intersection(able);
        Offer { methods, notifications: self.notifications, nip04 }.possible()
    }

    /// What its kind 13194 has to say now.
    pub fn announcement(&self, now_s: u64, able: MethodSet) -> Announcement {
        let announcement = Announcement::new(&self.offer(now_s, able));
        match &self.state {
            Some(state) if self.standing(now_s) == Standing::Active => announcement.asked_by(self.client, state.clone()),
            _ => announcement,
        }
    }

    /// Brings `announced` up to date; `true` if it changed and must be stored. A replaceable event wins by a later second,
    /// so the time always moves on.
    pub fn renew_announcement(&mut self, now_s: u64, able: MethodSet) -> bool {
        let digest = self.announcement(now_s, able).digest();
        if self.announced.digest == digest {
            return false;
        }
        let at_s = now_s.max(self.announced.at_s + 1);
        self.announced = Announced { at_s, digest };
        true
    }
}

/// Whether a text may be a connection's name.
pub fn check_name(name: &str) -> Result<(), BadName> {
    let length = name.chars().count();
    let printable = name.chars().all(|letter| !letter.is_control() && !is_invisible(letter));
    if (1..=NAME_MAX_CHARS).contains(&length) && printable && name.trim() == name { Ok(()) } else { Err(BadName) }
}

/// Characters that show nothing or turn the text around them: two names must not look the same for their sake.
fn is_invisible(letter: char) -> bool {
    matches!(letter, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile() -> Profile {
        Profile {
            name: "phone".to_owned(),
            wallet: PublicKey::from([4; 32]),
            client: PublicKey::from([5; 32]),
            methods: [Method::GetInfo, Method::PayInvoice].into_iter().collect(),
            notifications: [Notification::PaymentSent].into_iter().collect(),
            nip04: true,
            created_at_s: 100,
            expires_at_s: Some(200),
            revoked_at_s: None,
            relays: vec!["wss://a".to_owned()],
            state: Some("0f".repeat(16)),
            announced: Announced::default(),
            made_by: Some(MadeBy { connection: ConnectionId(3), terms: Hex32([6; 32]) }),
            spoken: Some(Scheme::Nip04),
        }
    }

    #[test]
    fn what_a_client_spoke_is_stored_twice_at_most() {
        let mut profile = Profile { spoken: None, ..profile() };
        assert!(!profile.is_new(None) && profile.is_new(Some(Scheme::Nip04)) && profile.is_new(Some(Scheme::Nip44)));
        profile.spoken = Some(Scheme::Nip04);
        assert!(!profile.is_new(Some(Scheme::Nip04)) && profile.is_new(Some(Scheme::Nip44)));
        profile.spoken = Some(Scheme::Nip44);
        assert!(!profile.is_new(Some(Scheme::Nip04)) && !profile.is_new(Some(Scheme::Nip44)) && !profile.is_new(None));
    }

    #[test]
    fn a_row_is_read_back() {
        let profile = profile();
        assert_eq!(Profile::decode(&profile.encode()), Ok(profile));
    }

    #[test]
    fn rows_of_a_newer_hearth_and_damaged_ones_are_refused() {
        let text = String::from_utf8(profile().encode()).unwrap();
        assert_eq!(Profile::decode(text.replace("\"v\":1", "\"v\":2").as_bytes()), Err(BadRow::Newer(2)));
        assert!(matches!(Profile::decode(&text.as_bytes()[1..]), Err(BadRow::Damaged(_))));
        let unknown = text.replace("get_info", "levitate");
        assert_eq!(Profile::decode(unknown.as_bytes()).unwrap().methods.words(), "pay_invoice");
        let before = text.replace("\"notifications\":[\"payment_sent\"],", "");
        assert_ne!(before, text);
        assert_eq!(Profile::decode(before.as_bytes()).unwrap().notifications, NotificationSet::all());
        let of_the_owner = Profile { made_by: None, ..profile() };
        assert!(!String::from_utf8(of_the_owner.encode()).unwrap().contains("made_by"));
        assert_eq!(Profile::decode(&of_the_owner.encode()), Ok(of_the_owner));
    }

    #[test]
    fn it_ends_at_the_very_second_and_says_so_once() {
        let mut profile = profile();
        assert_eq!(profile.standing(199), Standing::Active);
        assert_eq!(profile.standing(200), Standing::Expired(200));
        assert!(profile.renew_announcement(150, MethodSet::all()));
        assert!(!profile.renew_announcement(199, MethodSet::all()));
        assert!(profile.renew_announcement(200, MethodSet::all()));
        assert_eq!(profile.announced, Announced { at_s: 200, digest: "|nip44_v2 nip04||".to_owned() });
        profile.revoked_at_s = Some(210);
        assert_eq!(profile.standing(220), Standing::Revoked(210));
        assert!(!profile.renew_announcement(220, MethodSet::all()));
    }

    #[test]
    fn what_the_back_end_cannot_do_is_not_offered() {
        let profile = profile();
        let able = [Method::PayInvoice, Method::GetBalance].into_iter().collect();
        let offer = profile.offer(150, able);
        assert_eq!((offer.methods.words().as_str(), offer.notifications.words().as_str()), ("pay_invoice", "payment_sent"));
        assert_eq!(profile.offer(200, able), Offer { nip04: true, ..Offer::default() });
    }

    #[test]
    fn an_announcement_is_never_older_than_the_one_before() {
        let mut profile = profile();
        assert!(profile.renew_announcement(150, MethodSet::all()));
        profile.methods = MethodSet::EMPTY;
        assert!(profile.renew_announcement(10, MethodSet::all()));
        assert_eq!(profile.announced.at_s, 151);
    }

    #[test]
    fn names_are_printable() {
        for good in ["a", "Alby Go", "Ünïcödé 🔥", &"x".repeat(64)] {
            assert_eq!(check_name(good), Ok(()), "{good:?}");
        }
        for bad in ["", " a", "a ", "a\n", "a\u{202e}b", "a\u{200b}", "\u{7f}", &"x".repeat(65)] {
            assert_eq!(check_name(bad), Err(BadName), "{bad:?}");
        }
    }
}
