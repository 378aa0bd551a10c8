//! Profiles of mixed traffic: what a kind of relay does all day, in a TOML file.

use std::path::Path;

use serde::Deserialize;

use super::args::Shape;
use super::error::ClientError;

/// Most connections, operations per second and seconds of a profile, so that a slip of the pen does not fill the machine.
const CONNECTIONS_MAX: usize = 100_000;
const RATE_MAX: f64 = 1_000_000.0;
const SECONDS_MAX: f64 = 86_400.0;
const AUTHORS_MAX: usize = 100_000;

/// A profile. Every key but the mix has a default; unknown keys are refused.
#[derive(Deserialize, Clone, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct Profile {
    pub(super) name: String,
    /// What it stands for, for the report.
    #[serde(default)]
    pub(super) about: String,
    /// Connections of people's clients, each with one live subscription.
    #[serde(default = "twenty")]
    pub(super) connections: usize,
    /// Operations per second over all connections, at random moments (Poisson).
    pub(super) rate: f64,
    /// Length of one repeat.
    #[serde(default = "twenty_seconds")]
    pub(super) seconds: f64,
    /// Events that are stored before.
    #[serde(default)]
    pub(super) stored: usize,
    /// People and topics, and how uneven they are (Zipf's exponent).
    #[serde(default = "hundred")]
    pub(super) authors: usize,
    #[serde(default = "hundred")]
    pub(super) topics: usize,
    #[serde(default = "one")]
    pub(super) zipf: f64,
    /// Authors that each live subscription follows.
    #[serde(default = "twenty")]
    pub(super) follows: usize,
    /// Limit of every query (of `ids`: how many).
    #[serde(default = "twenty")]
    pub(super) limit: usize,
    /// Clients that send the wallet requests.
    #[serde(default = "one_client")]
    pub(super) wallet_clients: usize,
    pub(super) mix: Mix,
}

/// How often each operation comes, as weights.
#[derive(Deserialize, Clone, Debug, Default)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct Mix {
    publish: f64,
    ids: f64,
    author: f64,
    kind: f64,
    tag: f64,
    author_kind: f64,
    tag_kind: f64,
    feed: f64,
    wallet: f64,
}

/// One operation of a mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Publish,
    Ask(Shape),
    Wallet,
}

fn twenty() -> usize {
    20
}

fn hundred() -> usize {
    100
}

fn one() -> f64 {
    1.0
}

fn one_client() -> usize {
    1
}

fn twenty_seconds() -> f64 {
    20.0
}

impl Profile {
    pub(super) fn read(path: &Path) -> Result<Self, ClientError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| ClientError::Input(name.clone(), error.to_string()))?;
        Self::parse(&text).map_err(|words| ClientError::Profile(name, words))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let profile: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        let whole = |value: usize, most: usize| (1..=most).contains(&value);
        let checks = [
            (whole(profile.connections, CONNECTIONS_MAX), "connections must be 1 to 100000"),
            (profile.rate > 0.0 && profile.rate <= RATE_MAX, "rate must be above 0, at most 1000000"),
            (profile.seconds > 0.0 && profile.seconds <= SECONDS_MAX, "seconds must be above 0, at most 86400"),
            (whole(profile.authors, AUTHORS_MAX), "authors must be 1 to 100000"),
            (whole(profile.topics, AUTHORS_MAX), "topics must be 1 to 100000"),
            ((0.0..=10.0).contains(&profile.zipf), "zipf must be 0 to 10"),
            (whole(profile.wallet_clients, CONNECTIONS_MAX), "wallet_clients must be 1 to 100000"),
            (!profile.mix.actions().is_empty(), "the mix is empty: give at least one weight above 0"),
            (profile.mix.weights().iter().all(|(_, weight)| *weight >= 0.0), "weights must not be below 0"),
            (
                profile.stored > 0 || profile.mix.actions().iter().all(|(action, _)| !matches!(action, Action::Ask(_))),
                "queries need stored events: set stored",
            ),
        ];
        match checks.iter().find(|(right, _)| !right) {
            Some((_, words)) => Err((*words).to_owned()),
            None => Ok(profile),
        }
    }
}

impl Mix {
    fn weights(&self) -> [(Action, f64); 9] {
        [
            (Action::Publish, self.publish),
            (Action::Ask(Shape::Ids), self.ids),
            (Action::Ask(Shape::Author), self.author),
            (Action::Ask(Shape::Kind), self.kind),
            (Action::Ask(Shape::Tag), self.tag),
            (Action::Ask(Shape::AuthorKind), self.author_kind),
            (Action::Ask(Shape::TagKind), self.tag_kind),
            (Action::Ask(Shape::Feed), self.feed),
            (Action::Wallet, self.wallet),
        ]
    }

    /// The actions that come, with their share of all.
    pub(super) fn actions(&self) -> Vec<(Action, f64)> {
        let weights = self.weights();
        let sum: f64 = weights.iter().map(|(_, weight)| weight.max(0.0)).sum();
        weights.into_iter().filter(|(_, weight)| *weight > 0.0).map(|(action, weight)| (action, weight / sum)).collect()
    }
}

impl Action {
    pub(super) fn name(self) -> String {
        match self {
            Self::Publish => "publish".to_owned(),
            Self::Ask(shape) => format!("query {}", shape.name()),
            Self::Wallet => "wallet".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profiles_that_come_along_are_right() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/profiles");
        for name in ["household", "public-relay", "feed-app"] {
            let profile = Profile::read(&folder.join(format!("{name}.toml"))).unwrap();
            assert_eq!(profile.name, name);
            assert!(!profile.about.is_empty());
            let sum: f64 = profile.mix.actions().iter().map(|(_, share)| share).sum();
            assert!((sum - 1.0).abs() < 1e-9);
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, words) in [
            ("name='x'\nrate=1.0\ncolour=1\n[mix]\npublish=1", "unknown field `colour`"),
            ("name='x'\nrate=1.0\n[mix]\nfeeed=1", "unknown field `feeed`"),
            ("name='x'\nrate=0.0\n[mix]\npublish=1", "rate must be above 0"),
            ("name='x'\nrate=1.0\n[mix]", "the mix is empty"),
            ("name='x'\nrate=1.0\n[mix]\nfeed=1", "queries need stored events"),
        ] {
            let error = Profile::parse(text).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
