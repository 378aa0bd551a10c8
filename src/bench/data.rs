//! Events of a seed: the same seed makes the same authors, tags, kinds and bytes, so that a query run knows what a fill run stored.

use secp256k1::{Keypair, Message, SECP256K1};
use sha2::{Digest, Sha256};

use super::answer::{IdKey, id_key};
use super::socket::text_frame;

/// Authors of the made-up world.
pub(super) const AUTHORS: usize = 1_000;
/// Topics (`t` tags) of the made-up world.
const TOPICS: usize = 2_000;
/// Bytes of an event's JSON that the content is filled up to (the mean of what relays store).
const EVENT_BYTES: usize = 565;
/// Kinds of stored events, as often as they stand here.
const KINDS: [u16; 8] = [1, 1, 1, 1, 7, 7, 6, 30_023];
/// Stream number of the events that `fill` stores and `query` asks for.
pub(super) const FILL_STREAM: u64 = 0xf111;
/// How many seconds the stored events are spread over.
const FILL_SPAN_S: u64 = 30 * 86_400;
/// When the newest stored event was made: the same on every day, so that a later query run asks for what an earlier run stored.
pub(super) const FILL_END_S: u64 = 1_760_000_000;

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

    /// A number from 0 up to, not including, 1.
    pub(super) fn unit(&mut self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits are exact in a double")]
        let unit = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        unit
    }
}

/// Ranks drawn by Zipf's law: rank r (from 0) with weight 1/(r+1)^exponent.
#[derive(Clone)]
pub(super) struct Zipf(Vec<f64>);

impl Zipf {
    pub(super) fn new(ranks: usize, exponent: f64) -> Self {
        let mut sum = 0.0;
        #[expect(clippy::cast_precision_loss, reason = "ranks are few")]
        let weights = (1..=ranks.max(1)).map(|rank| (rank as f64).powf(-exponent));
        let mut sums: Vec<f64> = weights
            .map(|weight| {
                sum += weight;
                sum
            })
            .collect();
        sums.iter_mut().for_each(|at| *at /= sum);
        Self(sums)
    }

    pub(super) fn draw(&self, random: &mut Random) -> usize {
        let unit = random.unit();
        self.0.partition_point(|&sum| sum <= unit).min(self.0.len() - 1)
    }
}

/// The authors and topics of a seed.
pub(super) struct World {
    keys: Vec<Author>,
    authors: Zipf,
    topics: Zipf,
    seed: u64,
    /// Tells the streams of worlds of other sizes apart.
    salt: u64,
}

/// A key pair and its public key as text.
pub(super) struct Author {
    pub(super) keys: Keypair,
    pub(super) pubkey: String,
}

impl Author {
    /// Number `index` of a seed.
    pub(super) fn of(seed: u64, role: &str, index: usize) -> Self {
        let mut attempt = 0_u64;
        loop {
            let digest = Sha256::digest(format!("hearth bench {role} {seed} {index} {attempt}"));
            if let Ok(keys) = Keypair::from_seckey_slice(SECP256K1, &digest) {
                return Self::new(keys);
            }
            attempt += 1;
        }
    }

    pub(super) fn new(keys: Keypair) -> Self {
        Self { pubkey: const_hex::encode(keys.x_only_public_key().0.serialize()), keys }
    }

    /// Signs an event. `tags` is JSON; `content` must need no escapes.
    pub(super) fn sign(&self, created_at: u64, kind: u16, tags: &str, content: &str) -> Signed {
        let pubkey = &self.pubkey;
        let hash: [u8; 32] = Sha256::digest(format!(r#"[0,"{pubkey}",{created_at},{kind},{tags},"{content}"]"#)).into();
        let sig = SECP256K1.sign_schnorr_no_aux_rand(&Message::from_digest(hash), &self.keys);
        let id = const_hex::encode(hash);
        let json = format!(
            r#"{{"id":"{id}","pubkey":"{pubkey}","created_at":{created_at},"kind":{kind},"tags":{tags},"content":"{content}","sig":"{}"}}"#,
            const_hex::encode(sig.serialize())
        );
        Signed { id, json }
    }
}

/// A signed event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Signed {
    pub(super) id: String,
    pub(super) json: String,
}

impl Signed {
    pub(super) fn key(&self) -> IdKey {
        // Ids are made here, of 64 hex digits.
        id_key(self.id.as_bytes()).unwrap_or(0)
    }

    /// The frame that publishes it.
    pub(super) fn frame(&self) -> Box<[u8]> {
        frame(&format!(r#"["EVENT",{}]"#, self.json))
    }
}

/// A text as a ready masked frame. The mask is not secret; it only must not be all zeros, so that the relay has the usual work.
pub(super) fn frame(text: &str) -> Box<[u8]> {
    let mut out = Vec::with_capacity(text.len() + 14);
    let mask = text.bytes().rev().take(8).fold(0x9e37_79b9_u32, |mask, byte| mask.rotate_left(5) ^ u32::from(byte));
    text_frame(&mut out, mask, text.as_bytes());
    out.into_boxed_slice()
}

/// A signed event of the world and what one needs to ask for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) event: Signed,
    pub(super) kind: u16,
    pub(super) author: usize,
    pub(super) topic: String,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        Self::with(seed, AUTHORS, TOPICS, 1.0)
    }

    pub(super) fn with(seed: u64, authors: usize, topics: usize, exponent: f64) -> Self {
        let keys = (0..authors.max(1)).map(|index| Author::of(seed, "author", index)).collect();
        let salt = Random::new(((authors as u64) << 32) ^ topics as u64 ^ exponent.to_bits()).next();
        Self { keys, authors: Zipf::new(authors, exponent), topics: Zipf::new(topics, exponent), seed, salt }
    }

    /// Event number `index` of a stream.
    pub(super) fn event(&self, stream: u64, index: usize, created_at: u64) -> Sample {
        let mut random = Random::new(self.seed ^ stream.rotate_left(32) ^ (index as u64).wrapping_mul(0x2545_f491_4f6c_dd1d));
        let author = self.authors.draw(&mut random);
        let kind = KINDS[random.below(KINDS.len())];
        let topic = format!("topic{}", self.topics.draw(&mut random));
        let peer = self.pubkey(self.authors.draw(&mut random));
        let mut tags = format!(r#"[["t","{topic}"],["p","{peer}"]"#);
        if kind == 30_023 {
            tags.push_str(&format!(r#",["d","{stream:x}-{index}"]"#));
        }
        tags.push(']');
        let fixed = 64 + 64 + 128 + 90 + tags.len();
        let content = letters(&mut random, EVENT_BYTES.saturating_sub(fixed));
        Sample { event: self.keys[author].sign(created_at, kind, &tags, &content), kind, author, topic }
    }

    /// Event number `index` of the `stored` events that `fill` stores.
    pub(super) fn stored(&self, index: usize, stored: usize, end_s: u64) -> Sample {
        let age = FILL_SPAN_S * (stored.saturating_sub(index)) as u64 / stored.max(1) as u64;
        // Fills of another size are other events: none replaces one of this fill.
        let stream = FILL_STREAM ^ ((stored as u64) << 20) ^ end_s.rotate_left(44) ^ self.salt;
        self.event(stream, index, end_s.saturating_sub(age))
    }

    /// Makes `count` things on all cores, in order; signing is most of the work before a run.
    pub(super) fn make_many<T: Send>(&self, count: usize, make: impl Fn(&Self, usize) -> T + Sync) -> Vec<T> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(count.max(1));
        let share = count.div_ceil(threads).max(1);
        let make = &make;
        std::thread::scope(|scope| {
            let starts = (0..count).step_by(share);
            let parts: Vec<_> = starts
                .map(|from| {
                    scope.spawn(move || (from..count.min(from + share)).map(|index| make(self, index)).collect::<Vec<T>>())
                })
                .collect();
            // A part that panicked is missing and shows as missing operations; making events has no reason to panic.
            parts.into_iter().flat_map(|part| part.join().unwrap_or_default()).collect()
        })
    }

    /// A live event of one author with nothing else to it.
    pub(super) fn note(&self, author: usize, created_at: u64, content: &str) -> Signed {
        self.keys[author].sign(created_at, 1, "[]", content)
    }

    /// An author by Zipf's law.
    pub(super) fn draw_author(&self, random: &mut Random) -> usize {
        self.authors.draw(random)
    }

    pub(super) fn authors(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn pubkey(&self, author: usize) -> &str {
        &self.keys[author].pubkey
    }
}

fn letters(random: &mut Random, length: usize) -> String {
    const LETTERS: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789  ";
    (0..length).map(|_| char::from(LETTERS[random.below(64)])).collect()
}

/// Unix seconds.
pub(super) fn now_s() -> u64 {
    crate::base::clock::Clock::system().now_s()
}

/// A number that no other run has: what is published now is new to the relay.
pub(super) fn run_number() -> u64 {
    crate::base::clock::Clock::system().now_ms()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::event::{Draft, EventLimits};
    use crate::protocol::verify::verify;

    #[test]
    fn the_same_seed_makes_the_same_valid_events() {
        let (one, two) = (World::new(7), World::new(7));
        for index in 0..50 {
            let sample = one.stored(index, 50, FILL_END_S);
            assert_eq!(sample, two.stored(index, 50, FILL_END_S));
            let draft = Draft::parse(&sample.event.json).unwrap();
            draft.pack(&EventLimits::default()).unwrap();
            verify(&draft.id, &draft.pubkey, &draft.sig).unwrap();
            assert_eq!(draft.id.to_string(), sample.event.id);
            assert_eq!(draft.tag_value("t"), Some(sample.topic.as_str()));
        }
        assert_ne!(World::new(8).event(1, 1, 1), one.event(1, 1, 1));
    }

    #[test]
    fn many_are_made_in_order() {
        let world = World::with(1, 3, 3, 1.0);
        assert_eq!(world.make_many(1_001, |_, index| index), (0..1_001).collect::<Vec<_>>());
        assert!(world.make_many(0, |_, index| index).is_empty());
    }

    #[test]
    fn ranks_follow_zipf() {
        let (zipf, mut random) = (Zipf::new(1_000, 1.0), Random::new(3));
        let mut counts = vec![0_u32; 1_000];
        for _ in 0..200_000 {
            counts[zipf.draw(&mut random)] += 1;
        }
        // H(1000) = 7.485: the first rank gets 1/7.485 of all, the tenth a tenth of that.
        let near = |count: u32, wanted: f64| (f64::from(count) / 200_000.0 / wanted - 1.0).abs() < 0.1;
        assert!(near(counts[0], 1.0 / 7.485), "{}", counts[0]);
        assert!(near(counts[9], 0.1 / 7.485), "{}", counts[9]);
        assert!(counts[990..].iter().sum::<u32>() > 0);
        let flat = Zipf::new(10, 0.0);
        assert!((0..1_000).map(|_| flat.draw(&mut random)).any(|rank| rank == 9));
    }

    #[test]
    fn events_are_about_as_large_as_said() {
        let world = World::new(1);
        let mean = (0..200).map(|index| world.event(1, index, 1_760_000_000).event.json.len()).sum::<usize>() / 200;
        assert!((545..=585).contains(&mean), "{mean}");
    }
}
