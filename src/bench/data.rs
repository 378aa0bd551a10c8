//! Events of a seed: the same seed makes the same authors, tags, kinds and bytes, so that a query run knows what a fill run stored.

use secp256k1::{Keypair, Message, SECP256K1};
use sha2::{Digest, Sha256};

/// Authors of the made-up world.
const AUTHORS: usize = 1_000;
/// Topics (`t` tags) of the made-up world.
const TOPICS: usize = 2_000;
/// Bytes of an event's JSON that the content is filled up to (the mean of what relays store).
const EVENT_BYTES: usize = 565;

/// A small, fast, seeded generator (splitmix64): good enough to choose authors and letters, never for keys that matter.
#[derive(Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % (bound.max(1) as u64)).unwrap_or(0)
    }

    /// A rank below `bound`, small ranks far more often (roughly Zipf with exponent 1).
    pub(super) fn zipf(&mut self, bound: usize) -> usize {
        #[expect(clippy::cast_precision_loss, reason = "a rank needs no exact logarithm")]
        let unit = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as above")]
        let rank = (bound as f64).powf(unit) as usize;
        rank.saturating_sub(1).min(bound.saturating_sub(1))
    }
}

/// The authors of a seed.
pub(super) struct World {
    keys: Vec<Keypair>,
    seed: u64,
}

/// A signed event and what one needs to ask for it.
pub(super) struct Sample {
    pub(super) id: String,
    pub(super) json: String,
    pub(super) kind: u16,
    pub(super) author: usize,
    pub(super) topic: String,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        Self { keys: (0..AUTHORS).map(|index| key(seed, index)).collect(), seed }
    }

    /// Event number `index` of stream `stream`; `now_s` dates it, older events have larger distance.
    pub(super) fn event(&self, stream: u64, index: usize, created_at: u64) -> Sample {
        let mut random = Random::new(self.seed ^ stream.rotate_left(32) ^ (index as u64).wrapping_mul(0x2545_f491_4f6c_dd1d));
        let author = random.zipf(AUTHORS);
        let kind = [1, 1, 1, 1, 7, 7, 6, 30_023][random.below(8)];
        let topic = format!("topic{}", random.zipf(TOPICS));
        let peer = self.pubkey(random.zipf(AUTHORS));
        let mut tags = format!(r#"[["t","{topic}"],["p","{peer}"]"#);
        if kind == 30_023 {
            tags.push_str(&format!(r#",["d","{stream:x}-{index}"]"#));
        }
        tags.push(']');
        let fixed = 64 + 64 + 128 + 90 + tags.len();
        let content = letters(&mut random, EVENT_BYTES.saturating_sub(fixed));
        self.sign(author, created_at, kind, &tags, &content, topic)
    }

    fn sign(&self, author: usize, created_at: u64, kind: u16, tags: &str, content: &str, topic: String) -> Sample {
        let pubkey = self.pubkey(author);
        let id = hash(&format!(r#"[0,"{pubkey}",{created_at},{kind},{tags},"{content}"]"#));
        let sig = SECP256K1.sign_schnorr_no_aux_rand(&Message::from_digest(id), &self.keys[author]);
        let id = const_hex::encode(id);
        let json = format!(
            r#"{{"id":"{id}","pubkey":"{pubkey}","created_at":{created_at},"kind":{kind},"tags":{tags},"content":"{content}","sig":"{}"}}"#,
            const_hex::encode(sig.serialize())
        );
        Sample { id, json, kind, author, topic }
    }

    /// A live event of one author and kind with nothing else to it.
    pub(super) fn note(&self, author: usize, created_at: u64, content: &str) -> Sample {
        self.sign(author, created_at, 1, "[]", content, String::new())
    }

    pub(super) fn pubkey(&self, author: usize) -> String {
        const_hex::encode(self.keys[author].x_only_public_key().0.serialize())
    }
}

fn key(seed: u64, index: usize) -> Keypair {
    let mut attempt = 0_u64;
    loop {
        let digest = Sha256::digest(format!("hearth bench {seed} {index} {attempt}"));
        if let Ok(key) = Keypair::from_seckey_slice(SECP256K1, &digest) {
            return key;
        }
        attempt += 1;
    }
}

fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

fn letters(random: &mut Random, length: usize) -> String {
    const LETTERS: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789  ";
    (0..length).map(|_| char::from(LETTERS[random.below(64)])).collect()
}

/// Unix seconds.
pub(super) fn now_s() -> u64 {
    crate::base::clock::Clock::system().now_s()
}
