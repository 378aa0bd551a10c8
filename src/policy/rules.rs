//! Which keys and kinds may be published, and who must log in first.

use std::collections::HashSet;

use super::login::Login;
use crate::base::hex32::PublicKey;
use crate::protocol::event::Draft;
use crate::protocol::reason::Reason;

/// Lists and login rules of the operator. Empty lists allow everything.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// A REQ or COUNT needs a login.
    pub login_to_read: bool,
    /// An EVENT needs a login.
    pub login_to_write: bool,
    /// If not empty, only events of these authors are taken, and a login that is asked for must be one of them.
    pub allowed_keys: HashSet<PublicKey>,
    /// Events of these authors are refused.
    pub denied_keys: HashSet<PublicKey>,
    /// If not empty, only these kinds are taken.
    pub allowed_kinds: HashSet<u16>,
    /// These kinds are refused.
    pub denied_kinds: HashSet<u16>,
}

impl Rules {
    /// Whether this author is refused whatever it sends.
    pub fn check_denied(&self, author: &PublicKey) -> Result<(), Reason> {
        if self.denied_keys.contains(author) {
            return Err(Reason::blocked("this key may not publish here"));
        }
        Ok(())
    }

    /// Whether this event may come in from a connection with these logins.
    pub fn check_write(&self, draft: &Draft<'_>, login: &Login) -> Result<(), Reason> {
        self.check_denied(&draft.pubkey)?;
        if self.denied_kinds.contains(&draft.kind) || excludes(&self.allowed_kinds, &draft.kind) {
            return Err(Reason::blocked(format!("kind {} is not taken here", draft.kind)));
        }
        if self.login_to_write {
            self.check_login(login, "log in to publish here", "the key that is logged in may not publish here")?;
        }
        if excludes(&self.allowed_keys, &draft.pubkey) {
            return Err(Reason::restricted("only listed keys may publish here"));
        }
        Ok(())
    }

    /// Whether a connection with these logins may read.
    pub fn check_read(&self, login: &Login) -> Result<(), Reason> {
        if self.login_to_read {
            self.check_login(login, "log in to read here", "the key that is logged in may not read here")?;
        }
        Ok(())
    }

    fn check_login(&self, login: &Login, missing: &'static str, refused: &'static str) -> Result<(), Reason> {
        if login.keys().is_empty() {
            return Err(Reason::auth_required(missing));
        }
        let welcome = |key: &PublicKey| !self.denied_keys.contains(key) && !excludes(&self.allowed_keys, key);
        if login.keys().iter().any(welcome) { Ok(()) } else { Err(Reason::restricted(refused)) }
    }
}

fn excludes<T: std::hash::Hash + Eq>(list: &HashSet<T>, item: &T) -> bool {
    !list.is_empty() && !list.contains(item)
}
