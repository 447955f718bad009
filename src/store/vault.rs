//! The vault: seals tokens and payloads so that the database file alone is of no use to a thief.
//!
//! A sealed value is `version (1) | key id (8) | nonce (24) | ciphertext | tag (16)`, XChaCha20-Poly1305
//! (draft-irtf-cfrg-xchacha). Its place (table, column, row) is authenticated with it, so that no value can be moved to another
//! row. The nonce is random: 192 bits from a generator seeded per thread never meet twice.
//!
//! Every event is sealed, so the cipher is ring's, in assembler; it knows only the short nonce, so the key of each value is
//! derived here, which is all that the X stands for.

use chacha20::{R20, hchacha};
use rand::Rng as _;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::error::Unspecified;
use sha2::{Digest, Sha256};

use crate::store::StoreError;
use crate::store::key::KeyBytes;

const VERSION: u8 = 1;
const KEY_ID_LEN: usize = 8;
/// Of the nonce, what goes into a value's own key.
const DERIVED_LEN: usize = 16;
const NONCE_LEN: usize = DERIVED_LEN + 8;
const TAG_LEN: usize = 16;
const HEAD_LEN: usize = 1 + KEY_ID_LEN + NONCE_LEN;

/// Where a sealed value lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// The table.
    pub(super) table: &'static str,
    /// The column.
    pub(super) column: &'static str,
    /// The row's id or seq.
    pub(super) row: i64,
}

impl Place {
    /// A column of a row of a table.
    pub(super) const fn new(table: &'static str, column: &'static str, row: i64) -> Self {
        Self { table, column, row }
    }

    /// The bytes that are authenticated with the value. A NUL ends each name, so no two places share them.
    fn associated_data(&self) -> Vec<u8> {
        let mut data = Vec::with_capacity(self.table.len() + self.column.len() + 10);
        data.extend_from_slice(self.table.as_bytes());
        data.push(0);
        data.extend_from_slice(self.column.as_bytes());
        data.push(0);
        data.extend_from_slice(&self.row.to_be_bytes());
        data
    }

    fn sealed_with(&self, key_id: String) -> StoreError {
        StoreError::Sealed { what: format!("{}.{}, row {}", self.table, self.column, self.row), key_id }
    }
}

/// Seals with one key, and opens with any of those it was given.
pub(super) struct Vault {
    keys: Keys,
}

/// The one that seals, and one more while keys change.
struct Keys {
    first: Key,
    other: Option<Key>,
}

struct Key {
    key: chacha20::Key,
    id: [u8; KEY_ID_LEN],
}

impl Key {
    fn new(key: &KeyBytes) -> Self {
        let digest = Sha256::new().chain_update(b"tautline key id\0").chain_update(key.expose()).finalize();
        let mut id = [0; KEY_ID_LEN];
        id.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        Self { key: (*key.expose()).into(), id }
    }
}

impl Vault {
    /// A vault with this key, which seals, and maybe another, which opens besides.
    pub(super) fn new(first: &KeyBytes, other: Option<&KeyBytes>) -> Self {
        Self { keys: Keys { first: Key::new(first), other: other.map(Key::new) } }
    }

    /// What the key that seals is called: a digest of it, in hex.
    pub(super) fn key_id(&self) -> String {
        hex(&self.keys.first.id)
    }

    /// Was this sealed with the key that seals now?
    pub(super) fn is_current(&self, sealed: &[u8]) -> bool {
        matches!(sealed, [VERSION, rest @ ..] if rest.starts_with(&self.keys.first.id))
    }

    /// Was this sealed with a key that is not here? What is no sealed value was not.
    pub(super) fn lacks_key(&self, sealed: &[u8]) -> bool {
        let known = std::iter::once(&self.keys.first).chain(&self.keys.other);
        match sealed {
            [VERSION, rest @ ..] if rest.len() + 1 >= HEAD_LEN + TAG_LEN => {
                known.into_iter().all(|key| !rest.starts_with(&key.id))
            }
            _ => false,
        }
    }

    /// Which key opens this: the other where the value names it, else the first.
    fn key_of(&self, head: &[u8]) -> &Key {
        let named = head.get(1..=KEY_ID_LEN);
        let other = self.keys.other.as_ref().filter(|other| named == Some(other.id.as_slice()));
        other.unwrap_or(&self.keys.first)
    }

    /// Seals `plain` for its place. The only copy of it is the one that is sealed.
    pub(super) fn seal(&self, place: Place, plain: &[u8]) -> Result<Vec<u8>, StoreError> {
        let mut nonce = [0; NONCE_LEN];
        rand::rng().fill_bytes(&mut nonce);
        let mut sealed = Vec::with_capacity(HEAD_LEN + plain.len() + TAG_LEN);
        sealed.push(VERSION);
        sealed.extend_from_slice(&self.keys.first.id);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plain);
        let too_many =
            |_: Unspecified| StoreError::Data(format!("{} bytes are too many to seal", plain.len()));
        let (_, body) = sealed.split_at_mut(HEAD_LEN);
        let (key, nonce) = keyed(&self.keys.first, &nonce).map_err(too_many)?;
        let tag = key
            .seal_in_place_separate_tag(nonce, Aad::from(place.associated_data()), body)
            .map_err(too_many)?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// Opens what was sealed for this place.
    pub(super) fn open(&self, place: Place, mut sealed: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        let key_id = key_id_of(&sealed);
        let refused = || place.sealed_with(key_id.clone().unwrap_or_else(|| "(none: it is damaged)".into()));
        let (head, body) = sealed.split_at_mut_checked(HEAD_LEN).ok_or_else(refused)?;
        let nonce = head.get(1 + KEY_ID_LEN..).and_then(|nonce| nonce.try_into().ok()).ok_or_else(refused)?;
        let (key, nonce) = keyed(self.key_of(head), &nonce).map_err(|_| refused())?;
        let plain_len =
            key.open_in_place(nonce, Aad::from(place.associated_data()), body).map_err(|_| refused())?.len();
        sealed.truncate(HEAD_LEN + plain_len);
        sealed.drain(..HEAD_LEN);
        Ok(sealed)
    }

    /// Opens a text.
    pub(super) fn open_text(&self, place: Place, sealed: Vec<u8>) -> Result<String, StoreError> {
        let key_id = key_id_of(&sealed).unwrap_or_default();
        String::from_utf8(self.open(place, sealed)?).map_err(|_| place.sealed_with(key_id))
    }
}

/// A value's own key, and the rest of its nonce. Fails only for a key of a wrong length, which there is none of.
fn keyed(key: &Key, nonce: &[u8; NONCE_LEN]) -> Result<(LessSafeKey, Nonce), Unspecified> {
    let (first, last) = nonce.split_at(DERIVED_LEN);
    let own = hchacha::<R20>(&key.key, first.try_into().map_err(|_| Unspecified)?);
    let mut rest = [0; ring::aead::NONCE_LEN];
    rest.iter_mut().rev().zip(last.iter().rev()).for_each(|(to, from)| *to = *from);
    let own = UnboundKey::new(&CHACHA20_POLY1305, &own)?;
    Ok((LessSafeKey::new(own), Nonce::assume_unique_for_key(rest)))
}

/// The id of the key that a value was sealed with; none when it is no sealed value.
fn key_id_of(sealed: &[u8]) -> Option<String> {
    match sealed {
        [VERSION, rest @ ..] => rest.get(..KEY_ID_LEN).map(hex),
        _ => None,
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Place = Place::new("apps", "token_sealed", 7);

    #[test]
    fn what_is_sealed_opens_at_its_place_and_nowhere_else() {
        let vault = vault(1);
        for plain in ["", "x", "a\0b 🪢", &"long ".repeat(300_000)] {
            let sealed = vault.seal(HERE, plain.as_bytes()).unwrap();
            assert_eq!(vault.open_text(HERE, sealed.clone()).unwrap(), plain);
            for elsewhere in [
                Place::new("apps", "token_sealed", 8),
                Place::new("apps", "candidate_sealed", 7),
                Place::new("workspaces", "token_sealed", 7),
            ] {
                assert!(vault.open(elsewhere, sealed.clone()).is_err(), "{elsewhere:?}");
            }
        }
    }

    #[test]
    fn no_two_seals_of_one_text_are_alike() {
        let vault = vault(1);
        assert_ne!(vault.seal(HERE, b"same").unwrap(), vault.seal(HERE, b"same").unwrap());
    }

    #[test]
    fn another_key_is_refused_with_the_place_and_the_id_of_the_right_one() {
        let (right, wrong) = (vault(1), vault(2));
        let sealed = right.seal(HERE, b"secret").unwrap();
        let error = wrong.open(HERE, sealed).unwrap_err();
        assert_eq!(
            error,
            StoreError::Sealed { what: "apps.token_sealed, row 7".into(), key_id: right.key_id() },
        );
        assert_ne!(right.key_id(), wrong.key_id());
    }

    #[test]
    fn with_two_keys_either_opens_and_the_first_seals() {
        let (old, new) = (KeyBytes::new([1; 32]), KeyBytes::new([2; 32]));
        let both = Vault::new(&new, Some(&old));
        let (by_old, by_both) =
            (vault(1).seal(HERE, b"secret").unwrap(), both.seal(HERE, b"secret").unwrap());
        assert_eq!(both.open(HERE, by_old.clone()).unwrap(), b"secret");
        assert_eq!(both.open(HERE, by_both.clone()).unwrap(), b"secret");
        assert_eq!(vault(2).open(HERE, by_both.clone()).unwrap(), b"secret");
        assert!(both.is_current(&by_both) && !both.is_current(&by_old));
        assert!(both.open(HERE, vault(3).seal(HERE, b"secret").unwrap()).is_err());
    }

    #[test]
    fn what_earlier_versions_sealed_still_opens() {
        let sealed = "011eca3653881e430681a8cc10a39ad6cabfd0baa162bb6e3868cf9eef6ed366aa369481c034f523d91438c7bf3703cbf7790e8d2ea699e9f3b4a39b8d";
        let bytes = |at: usize| u8::from_str_radix(&sealed[at..at + 2], 16).unwrap();
        let sealed: Vec<u8> = (0..sealed.len()).step_by(2).map(bytes).collect();
        assert_eq!(vault(1).open_text(HERE, sealed).unwrap(), "what is kept");
    }

    #[test]
    fn a_changed_or_shortened_value_is_refused() {
        let vault = vault(1);
        let sealed = vault.seal(HERE, b"secret").unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            // The version and the key's id are labels: only what they label is authenticated.
            assert_eq!(vault.open(HERE, changed).is_ok(), at < 1 + KEY_ID_LEN, "byte {at}");
            assert!(vault.open(HERE, sealed[..at].to_vec()).is_err(), "first {at} bytes");
        }
    }

    fn vault(seed: u8) -> Vault {
        Vault::new(&KeyBytes::new([seed; 32]), None)
    }
}
