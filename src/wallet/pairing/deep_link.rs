//! Deep links (NIP-47 extension 07): an app on the same device opens `nostrnwc://connect?...`, and gets the pairing code back by its
//! callback. hearth has no screen there, so its owner opens the callback that is printed.

use url::Url;

/// Longest link.
const LINK_BYTES_MAX: usize = 8_192;

/// What an app asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeepLink {
    callback: Url,
}

/// Why a link is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeepLinkError {
    /// It is something else.
    #[error("this is no deep link of an app: it starts with nostrnwc://connect? or nostrnwc+app://connect?")]
    NoLink,
    /// The code would go nowhere, or to where others could read it.
    #[error("the link's callback must be there once, and be an https address or an app's own scheme")]
    Callback,
}

impl DeepLink {
    /// Reads a link.
    pub fn parse(text: &str) -> Result<Self, DeepLinkError> {
        let text = text.trim();
        let url = Url::parse(text).ok().filter(|_| text.len() <= LINK_BYTES_MAX).ok_or(DeepLinkError::NoLink)?;
        let is_ours = url.scheme() == "nostrnwc" || url.scheme().starts_with("nostrnwc+");
        if !is_ours || url.host_str() != Some("connect") {
            return Err(DeepLinkError::NoLink);
        }
        let mut callbacks = url.query_pairs().filter(|(name, _)| name == "callback").map(|(_, value)| value);
        let (Some(callback), None) = (callbacks.next(), callbacks.next()) else { return Err(DeepLinkError::Callback) };
        let callback = super::wish::return_address(&callback).map_err(|_| DeepLinkError::Callback)?;
        Ok(Self { callback })
    }

    /// The callback with the pairing code as its `value`.
    pub fn callback_with(&self, code: &str) -> String {
        let mut url = self.callback.clone();
        url.query_pairs_mut().append_pair("value", code);
        url.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_comes_back_by_the_callback() {
        let link = DeepLink::parse("nostrnwc://connect?appname=zap&callback=zapapp%3A%2F%2Fwallet%3Fa%3D1").unwrap();
        assert_eq!(
            link.callback_with("nostr+walletconnect://ab?x=1&y=2"),
            "zapapp://wallet?a=1&value=nostr%2Bwalletconnect%3A%2F%2Fab%3Fx%3D1%26y%3D2"
        );
        assert!(DeepLink::parse("nostrnwc+zap://connect?callback=https%3A%2F%2Fzap.example").is_ok());
        for (bad, error) in [
            ("nostrnwc://connect", DeepLinkError::Callback),
            ("nostrnwc://connect?callback=javascript%3Aalert(1)", DeepLinkError::Callback),
            ("nostrnwc://connect?callback=http%3A%2F%2Fevil.example", DeepLinkError::Callback),
            ("nostrnwc://connect?callback=a%3A%2F%2Fx&callback=b%3A%2F%2Fx", DeepLinkError::Callback),
            ("nostrnwc://other?callback=a%3A%2F%2Fx", DeepLinkError::NoLink),
            ("https://connect?callback=a%3A%2F%2Fx", DeepLinkError::NoLink),
            ("", DeepLinkError::NoLink),
        ] {
            assert_eq!(DeepLink::parse(bad), Err(error), "{bad}");
        }
    }
}
