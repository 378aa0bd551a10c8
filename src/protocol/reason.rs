//! Machine-readable reasons (NIP-01): a prefix from a closed list, a colon, and words for people.

use std::borrow::Cow;
use std::fmt;

/// The prefixes that clients know (NIP-01, NIP-42 and the `unsupported` of NIP-01's own example).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Prefix {
    /// The relay has it already, or a newer one of it.
    Duplicate,
    /// Too little proof of work (NIP-13).
    Pow,
    /// The relay does not take this from anybody, or no longer.
    Blocked,
    /// Too fast.
    RateLimited,
    /// It breaks a rule of the protocol.
    Invalid,
    /// The sender is known and may not.
    Restricted,
    /// Nobody listened to an ephemeral event.
    Mute,
    /// Something went wrong here.
    Error,
    /// The sender must authenticate first (NIP-42).
    AuthRequired,
    /// This relay does not do that.
    Unsupported,
}

impl Prefix {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Duplicate => "duplicate",
            Self::Pow => "pow",
            Self::Blocked => "blocked",
            Self::RateLimited => "rate-limited",
            Self::Invalid => "invalid",
            Self::Restricted => "restricted",
            Self::Mute => "mute",
            Self::Error => "error",
            Self::AuthRequired => "auth-required",
            Self::Unsupported => "unsupported",
        }
    }
}

/// A prefix and words: shown as `prefix: words`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reason {
    /// What machines read.
    pub prefix: Prefix,
    /// What people read.
    pub text: Cow<'static, str>,
}

impl Reason {
    /// A reason from its two parts.
    pub fn new(prefix: Prefix, text: impl Into<Cow<'static, str>>) -> Self {
        Self { prefix, text: text.into() }
    }

    /// `invalid: ...`
    pub fn invalid(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Prefix::Invalid, text)
    }

    /// `restricted: ...`
    pub fn restricted(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Prefix::Restricted, text)
    }

    /// `error: ...`
    pub fn error(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Prefix::Error, text)
    }

    /// `blocked: ...`
    pub fn blocked(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Prefix::Blocked, text)
    }

    /// `duplicate: ...`
    pub fn duplicate(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Prefix::Duplicate, text)
    }

    /// `rate-limited: ...`
    pub fn rate_limited(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Prefix::RateLimited, text)
    }

    /// `auth-required: ...`
    pub fn auth_required(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Prefix::AuthRequired, text)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.prefix.as_str(), self.text)
    }
}

/// What became of an event: the content of its one `OK`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// `OK true` with an empty text.
    Accepted,
    /// `OK true` with a reason (`duplicate: ...`, `mute: ...`).
    AcceptedWith(Reason),
    /// `OK false` with a reason.
    Refused(Reason),
}

impl Verdict {
    /// Whether the `OK` says true.
    pub fn is_accepted(&self) -> bool {
        !matches!(self, Self::Refused(_))
    }

    /// The reason, where there is one.
    pub fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Accepted => None,
            Self::AcceptedWith(reason) | Self::Refused(reason) => Some(reason),
        }
    }
}
