//! What a connection may do now, and the words of the refusal where it may not.

use super::connection::{Profile, Standing};
use crate::wallet::terms::{ErrorCode, Refusal, Scheme};
use crate::wallet::wire::method::Method;

/// Whether the key still has a wallet.
pub fn check_standing(profile: &Profile, now_s: u64) -> Result<(), Refusal> {
    let words = match profile.standing(now_s) {
        Standing::Active => return Ok(()),
        Standing::Expired(at_s) => format!("this connection expired at {}; ask the wallet's owner for a new one", date(at_s)),
        Standing::Revoked(at_s) => format!("this connection was revoked at {}; ask the wallet's owner for a new one", date(at_s)),
    };
    Err(Refusal::new(ErrorCode::Unauthorized, words))
}

/// Whether the connection has the method.
pub fn check_method(profile: &Profile, method: Method) -> Result<(), Refusal> {
    if profile.methods.has(method) {
        return Ok(());
    }
    let words = match profile.methods.words() {
        none if none.is_empty() => format!("this connection may not use {method}; it may use no method at all"),
        some => format!("this connection may not use {method}; it may use: {some}"),
    };
    Err(Refusal::new(ErrorCode::Restricted, words))
}

/// Whether the scheme of a request, and the one that its tag names, are served. A tag that names the other scheme of the two is
/// tolerated; one that names neither asks for something that is not there.
pub fn check_encryption(profile: &Profile, scheme: Scheme, named: Option<&str>) -> Result<(), Refusal> {
    if scheme == Scheme::Nip04 && !profile.nip04 {
        let words = "this connection does not take nip04; use nip44_v2";
        return Err(Refusal::new(ErrorCode::UnsupportedEncryption, words));
    }
    match named {
        Some(word) if crate::wallet::wire::envelope::scheme_named(word).is_none() => {
            let served = if profile.nip04 { "nip44_v2 and nip04" } else { "nip44_v2" };
            Err(Refusal::new(ErrorCode::UnsupportedEncryption, format!("served are {served}, not what the encryption tag names")))
        }
        _ => Ok(()),
    }
}

/// `2026-09-01T12:00:00Z`
fn date(at_s: u64) -> String {
    let timestamp = i64::try_from(at_s).ok().and_then(|at_s| jiff::Timestamp::from_second(at_s).ok());
    timestamp.map_or_else(|| format!("unix time {at_s}"), |timestamp| timestamp.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hex32::PublicKey;
    use crate::wallet::access::connection::Announced;
    use crate::wallet::wire::method::MethodSet;
    use crate::wallet::wire::notification::NotificationSet;

    fn profile(methods: MethodSet, nip04: bool) -> Profile {
        Profile {
            name: "phone".to_owned(),
            wallet: PublicKey::from([4; 32]),
            client: PublicKey::from([5; 32]),
            methods,
            notifications: NotificationSet::all(),
            nip04,
            created_at_s: 0,
            expires_at_s: Some(1_788_264_000),
            revoked_at_s: None,
            relays: Vec::new(),
            state: None,
            announced: Announced::default(),
            made_by: None,
            spoken: None,
        }
    }

    #[test]
    fn refusals_say_what_is_allowed() {
        let one = profile([Method::GetInfo].into_iter().collect(), false);
        assert_eq!(check_method(&one, Method::GetInfo), Ok(()));
        let words = check_method(&one, Method::PayInvoice).unwrap_err().to_string();
        assert_eq!(words, "RESTRICTED: this connection may not use pay_invoice; it may use: get_info");
        let words = check_standing(&one, 1_788_264_000).unwrap_err().to_string();
        assert_eq!(words, "UNAUTHORIZED: this connection expired at 2026-09-01T12:00:00Z; ask the wallet's owner for a new one");
    }

    #[test]
    fn a_lying_tag_is_tolerated_an_unknown_one_is_not() {
        let (both, new) = (profile(MethodSet::all(), true), profile(MethodSet::all(), false));
        let refused = |profile, scheme, tag| check_encryption(profile, scheme, tag).map_err(|refusal| refusal.code);
        for scheme in [Scheme::Nip44, Scheme::Nip04] {
            for tag in [None, Some("nip04"), Some("nip44_v2")] {
                assert_eq!(refused(&both, scheme, tag), Ok(()), "{scheme:?} {tag:?}");
            }
            assert_eq!(refused(&both, scheme, Some("nip99")), Err(ErrorCode::UnsupportedEncryption));
        }
        assert_eq!(refused(&new, Scheme::Nip44, Some("nip04")), Ok(()));
        assert_eq!(refused(&new, Scheme::Nip04, None), Err(ErrorCode::UnsupportedEncryption));
    }
}
