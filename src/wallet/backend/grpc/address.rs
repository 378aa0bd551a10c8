//! Where the wallet listens, and the token that opens a port: a Unix socket, or the loopback interface and nothing else.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// Permission bits that nobody but the owner may have.
const OTHERS: u32 = 0o077;
/// Lengths of a token: shorter ones can be guessed, longer ones are no token.
const TOKEN_CHARS: std::ops::RangeInclusive<usize> = 16..=512;

/// Where the wallet listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A Unix socket: the rights on its folder say who can be the wallet.
    Unix(PathBuf),
    /// A port of this machine. Any of its users can connect, so a token goes with every call.
    Loopback(SocketAddr),
}

/// Why a text is no address of a wallet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Neither form.
    #[error("must be \"unix:/path/of/the/socket\" or \"127.0.0.1:PORT\"")]
    Form,
    /// Another machine.
    #[error("must be an address of this machine (127.0.0.1 or [::1]): calls are not encrypted, and carry preimages")]
    NotLoopback,
}

impl Address {
    /// Reads `unix:/path` or `127.0.0.1:port`.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err(AddressError::Form) } else { Ok(Self::Unix(PathBuf::from(path))) };
        }
        let address: SocketAddr = text.parse().map_err(|_| AddressError::Form)?;
        if address.port() == 0 {
            return Err(AddressError::Form);
        }
        if address.ip().is_loopback() { Ok(Self::Loopback(address)) } else { Err(AddressError::NotLoopback) }
    }

    /// As the gRPC library wants it.
    pub(super) fn uri(&self) -> String {
        match self {
            Self::Unix(path) => format!("unix:{}", std::path::absolute(path).unwrap_or_else(|_| path.clone()).display()),
            Self::Loopback(address) => format!("http://{address}"),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Loopback(address) => write!(f, "{address}"),
        }
    }
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file.
    #[error("the token file {} cannot be read: {error}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Its rights.
    #[error("others can read the token file {}; chmod 600 it", .0.display())]
    Open(PathBuf),
    /// Its content.
    #[error("the token file {} must hold one line of 16 to 512 visible ASCII characters", .0.display())]
    Content(PathBuf),
}

/// Reads the token; at every connection, so that a new one needs no restart.
pub(super) fn read_token(path: &Path) -> Result<Zeroizing<String>, TokenError> {
    let unreadable = |error| TokenError::Read { path: path.to_owned(), error };
    let file = File::open(path).map_err(unreadable)?;
    let rights = file.metadata().map_err(unreadable)?.permissions().mode();
    if rights & OTHERS != 0 {
        return Err(TokenError::Open(path.to_owned()));
    }
    let mut text = Zeroizing::new(String::new());
    // A little more than the longest, to notice what is longer.
    let most = u64::try_from(TOKEN_CHARS.end() + 3).unwrap_or(u64::MAX);
    file.take(most).read_to_string(&mut text).map_err(unreadable)?;
    let token = Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned());
    if TOKEN_CHARS.contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(token)
    } else {
        Err(TokenError::Content(path.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_this_machine_is_an_address() {
        assert_eq!(Address::parse("unix:/run/w.sock").unwrap(), Address::Unix("/run/w.sock".into()));
        assert_eq!(Address::parse("127.0.0.1:9911").unwrap().uri(), "http://127.0.0.1:9911");
        assert_eq!(Address::parse("[::1]:9911").unwrap().to_string(), "[::1]:9911");
        for text in ["192.168.1.2:9911", "0.0.0.0:9911", "[2001:db8::1]:1"] {
            assert_eq!(Address::parse(text), Err(AddressError::NotLoopback), "{text}");
        }
        for text in ["", "unix:", "localhost:9911", "127.0.0.1", "127.0.0.1:0", "http://127.0.0.1:1"] {
            assert_eq!(Address::parse(text), Err(AddressError::Form), "{text}");
        }
    }

    #[test]
    fn a_token_is_one_line_that_only_its_owner_can_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        let put = |text: &str, mode| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            read_token(&path)
        };
        assert_eq!(put("0123456789abcdef\n", 0o600).unwrap().as_str(), "0123456789abcdef");
        assert_eq!(put("0123456789abcdef", 0o400).unwrap().as_str(), "0123456789abcdef");
        assert!(matches!(put("0123456789abcdef\n", 0o640), Err(TokenError::Open(_))));
        for text in ["short", "0123456789 abcdef", "0123456789abcdef\n0123456789abcdef", &"x".repeat(600), ""] {
            let error = put(text, 0o600).unwrap_err();
            assert!(matches!(error, TokenError::Content(_)) && !error.to_string().contains("0123"), "{text}");
        }
        fs::remove_file(&path).unwrap();
        assert!(matches!(read_token(&path), Err(TokenError::Read { .. })));
    }
}
