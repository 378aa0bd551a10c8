//! The wallet seed as twenty-four words to be written on paper (BIP 39, English): the seed is their entropy.

use bip39::{Error, Language, Mnemonic};
use zeroize::Zeroizing;

use crate::base::secret::Secret;

/// Words of a seed of 32 bytes.
pub const WORDS: usize = 24;

/// Why words are no seed. Never names a word: they are the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WordsError {
    /// Too few or too many.
    #[error("these are {0} words; the backup of a wallet seed has {WORDS}")]
    Count(usize),
    /// One is not in the list.
    #[error("word {0} is none of the words that a backup is made of; look for a slip of the pen")]
    Unknown(usize),
    /// All are in the list and do not belong together.
    #[error("these words do not belong together: one of them is wrong, or two have changed places")]
    Checksum,
}

/// The words of a seed.
pub(super) fn of_seed(seed: &[u8; 32]) -> Option<Secret<String>> {
    Mnemonic::from_entropy(seed).ok().map(|words| Secret::new(words.to_string()))
}

/// The seed of words, in any case and with any spaces between them.
pub fn seed(text: &str) -> Result<Secret<[u8; 32]>, WordsError> {
    let mut plain = Zeroizing::new(String::with_capacity(text.len()));
    for word in text.split_whitespace() {
        if !plain.is_empty() {
            plain.push(' ');
        }
        plain.extend(word.chars().map(|letter| letter.to_ascii_lowercase()));
    }
    let count = text.split_whitespace().count();
    if count != WORDS {
        return Err(WordsError::Count(count));
    }
    let words = Mnemonic::parse_in_normalized(Language::English, &plain).map_err(|error| match error {
        Error::UnknownWord(at) => WordsError::Unknown(at + 1),
        _ => WordsError::Checksum,
    })?;
    let (entropy, length) = words.to_entropy_array();
    let entropy = Zeroizing::new(entropy);
    let seed = entropy.get(..length).and_then(|seed| <[u8; 32]>::try_from(seed).ok());
    seed.map(Secret::new).ok_or(WordsError::Checksum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_bring_the_seed_back() {
        // A test vector of BIP 39.
        let text = of_seed(&[0x7f; 32]).unwrap();
        assert!(text.expose().starts_with("legal winner thank year wave sausage worth useful"), "{}", text.expose());
        assert_eq!(seed(text.expose()).unwrap().expose(), &[0x7f; 32]);
        let untidy = format!("  {}\n", text.expose().to_uppercase().replace(' ', " \t\n"));
        assert_eq!(seed(&untidy).unwrap().expose(), &[0x7f; 32]);
    }

    #[test]
    fn what_is_wrong_is_named_without_naming_a_word() {
        let text = of_seed(&[0x7f; 32]).unwrap().expose().clone();
        let words: Vec<&str> = text.split(' ').collect();
        let with = |at: usize, word: &str| {
            let mut words = words.clone();
            words[at] = word;
            seed(&words.join(" ")).unwrap_err()
        };
        assert_eq!(with(4, "wavee"), WordsError::Unknown(5));
        assert_eq!(with(4, "zoo"), WordsError::Checksum);
        assert_eq!(seed(&words[..12].join(" ")).unwrap_err(), WordsError::Count(12));
        assert_eq!(seed("").unwrap_err(), WordsError::Count(0));
        for error in [with(4, "wavee"), with(4, "zoo")] {
            assert!(!error.to_string().contains("wave"), "{error}");
        }
    }
}
