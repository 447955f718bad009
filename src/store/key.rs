//! The node's key: where it comes from, and the rules for the file that holds it. No error here shows what it was given.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use rand::Rng as _;
use secrecy::{ExposeSecret, SecretBox, SecretString};

use crate::store::StoreError;

/// Longer than any key file: what is larger is some other file, and is not read to its end.
const MAX_FILE_BYTES: u64 = 4096;

/// A new key as text, for `TAUTLINE_KEY` or a key file.
pub fn generate_key_text() -> SecretString {
    STANDARD.encode(KeyBytes::generate().expose()).into()
}

/// A new key in a new file that only its owner may read.
pub fn generate_key_file(path: &Path) -> Result<(), StoreError> {
    KeyBytes::create(path).map(drop)
}

/// The key itself; wiped when dropped.
pub(super) struct KeyBytes(SecretBox<[u8; 32]>);

impl KeyBytes {
    pub(super) fn new(bytes: [u8; 32]) -> Self {
        Self(SecretBox::new(Box::new(bytes)))
    }

    pub(super) fn expose(&self) -> &[u8; 32] {
        self.0.expose_secret()
    }

    fn generate() -> Self {
        let mut bytes = [0; 32];
        rand::rng().fill_bytes(&mut bytes);
        Self::new(bytes)
    }

    /// The key in `text`, which came from `origin`.
    pub(super) fn parse(text: &str, origin: &str) -> Result<Self, StoreError> {
        let text = text.trim();
        let bytes = decode_hex(text)
            .or_else(|| {
                [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD]
                    .iter()
                    .find_map(|e| e.decode(text).ok())
            })
            .ok_or_else(|| {
                StoreError::Setup(format!(
                    "the key in {origin} is neither base64 nor hex; `openssl rand -base64 32` makes a good one"
                ))
            })?;
        let length = bytes.len();
        let bytes = <[u8; 32]>::try_from(bytes).map_err(|_| {
            StoreError::Setup(format!(
                "the key in {origin} has {length} bytes, a key has 32; `openssl rand -base64 32` makes a good one"
            ))
        })?;
        Ok(Self::new(bytes))
    }

    /// The key in a file that only its owner may read.
    pub(super) fn read(path: &Path) -> Result<Self, StoreError> {
        let shown = path.display();
        let cannot =
            |error: std::io::Error| StoreError::Setup(format!("cannot read the key file {shown}: {error}"));
        let file = File::open(path).map_err(cannot)?;
        let mode = file.metadata().map_err(cannot)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(StoreError::Setup(format!(
                "the key file {shown} may be read by others (mode {:04o}); run: chmod 600 {shown}",
                mode & 0o7777
            )));
        }
        let mut text = String::new();
        file.take(MAX_FILE_BYTES).read_to_string(&mut text).map_err(cannot)?;
        let text = SecretString::from(text);
        Self::parse(text.expose_secret(), &format!("the key file {shown}"))
    }

    /// A new key in a new file of mode 0600, on disk before it is used. An existing file is never written to.
    pub(super) fn create(path: &Path) -> Result<Self, StoreError> {
        let key = Self::generate();
        write_new(path, &key).map_err(|error| {
            StoreError::Setup(if error.kind() == ErrorKind::AlreadyExists {
                format!(
                    "there is a file {} already, and it is not written over: name another, or move it away",
                    path.display()
                )
            } else {
                format!("cannot make the key file {}: {error}", path.display())
            })
        })?;
        Ok(key)
    }
}

fn write_new(path: &Path, key: &KeyBytes) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let text = SecretString::from(STANDARD.encode(key.expose()) + "\n");
    file.write_all(text.expose_secret().as_bytes())?;
    file.sync_all()?;
    // The name of the file is on disk only when its directory is.
    let parent =
        path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    File::open(parent)?.sync_all()
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    (0..64).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_from_hex_and_from_every_base64() {
        let bytes: [u8; 32] = std::array::from_fn(|i| 255 - u8::try_from(i).unwrap() * 7);
        let hex = crate::store::vault::hex(&bytes).to_uppercase();
        let spellings =
            [hex, STANDARD.encode(bytes) + "\n", URL_SAFE.encode(bytes), URL_SAFE_NO_PAD.encode(bytes)];
        for text in spellings {
            assert_eq!(KeyBytes::parse(&text, "here").unwrap().expose(), &bytes, "{text}");
        }
    }

    #[test]
    fn a_bad_key_is_told_by_its_length_or_encoding_and_never_shown() {
        let short = told(KeyBytes::parse("c2VjcmV0", "TAUTLINE_KEY"));
        assert!(short.contains("TAUTLINE_KEY has 6 bytes") && !short.contains("c2VjcmV0"), "{short}");
        let odd = told(KeyBytes::parse("hunter2!", "TAUTLINE_KEY"));
        assert!(odd.contains("neither base64 nor hex") && !odd.contains("hunter2"), "{odd}");
    }

    #[test]
    fn a_made_key_file_is_its_owners_alone_and_read_back_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.key");
        let made = KeyBytes::create(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(KeyBytes::read(&path).unwrap().expose(), made.expose());
        assert!(told(KeyBytes::create(&path)).contains("not written over"));
        assert_eq!(KeyBytes::read(&path).unwrap().expose(), made.expose());
    }

    #[test]
    fn a_key_file_that_others_may_read_is_refused_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.key");
        KeyBytes::create(&path).unwrap();
        for mode in [0o640, 0o604, 0o660] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            let error = told(KeyBytes::read(&path));
            assert!(error.contains(&format!("run: chmod 600 {}", path.display())), "{error}");
        }
    }

    fn told(result: Result<KeyBytes, StoreError>) -> String {
        result.err().expect("refused").to_string()
    }
}
