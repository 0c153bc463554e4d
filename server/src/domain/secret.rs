//! Secrets: how they are made, and what is kept of them.

use std::fmt;

use sha2::{Digest, Sha256};

/// What tokens begin with, so that people and scanners of repositories know one when they see it.
pub const TOKEN: &str = "motif_";
/// What the secrets of browsers' sessions begin with.
pub const SESSION: &str = "motifs_";

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Letters after the prefix: 238 bits.
const LETTERS: usize = 40;

/// What is kept of a secret.
pub type Hash = [u8; 32];

/// A secret that was just made. It is shown once, and never written to a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    /// A new secret with this prefix.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn new(prefix: &str) -> Result<Self, getrandom::Error> {
        let mut text = String::with_capacity(prefix.len() + LETTERS);
        text.push_str(prefix);
        let mut bytes = [0; 2 * LETTERS];
        while text.len() < prefix.len() + LETTERS {
            getrandom::fill(&mut bytes)?;
            let missing = prefix.len() + LETTERS - text.len();
            // The bytes past the last whole alphabet are left out: every letter is as likely as any other.
            let fair = bytes
                .iter()
                .filter(|&&byte| usize::from(byte) < 256 - 256 % ALPHABET.len());
            text.extend(
                fair.take(missing)
                    .map(|&byte| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()])),
            );
        }
        Ok(Self(text))
    }

    /// The secret itself, for the one answer that shows it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    #[must_use]
    pub fn hash(&self) -> Hash {
        hash(&self.0)
    }
}

/// The hash of what somebody shows, if it can be a secret with this prefix at all.
#[must_use]
pub fn recognise(shown: &str, prefix: &str) -> Option<Hash> {
    let letters = shown.strip_prefix(prefix)?;
    let sound = letters.len() == LETTERS && letters.bytes().all(|byte| byte.is_ascii_alphanumeric());
    sound.then(|| hash(shown))
}

fn hash(secret: &str) -> Hash {
    Sha256::digest(secret).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_recognised_by_its_prefix_and_length_alone() {
        let secret = Secret::new(TOKEN).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(recognise(secret.expose(), TOKEN), Some(secret.hash()));
        assert_eq!(recognise(secret.expose(), SESSION), None);
        assert_eq!(recognise(&secret.expose()[1..], TOKEN), None);
        assert_eq!(recognise(&format!("{}x", secret.expose()), TOKEN), None);
        assert_eq!(recognise("motif_", TOKEN), None);
        assert!(!format!("{secret:?}").contains(&secret.expose()[6..]));
    }

    #[test]
    fn secrets_differ_and_use_every_letter() {
        let mut seen = std::collections::HashSet::new();
        let mut letters = std::collections::HashSet::new();
        for _ in 0..200 {
            let secret = Secret::new(TOKEN).unwrap_or_else(|error| panic!("{error}"));
            letters.extend(secret.expose().bytes().skip(TOKEN.len()));
            assert!(seen.insert(secret.expose().to_owned()));
        }
        assert_eq!(letters.len(), ALPHABET.len());
    }
}
