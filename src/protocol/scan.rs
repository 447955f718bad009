//! A walk over JSON that builds nothing: each value is either entered or passed over, and is a slice of the text then. An
//! envelope is read whole in one such walk, which is most of what an event costs before it is stored; serde would need one
//! for the frame, to find where the payload ends, and another for what stands in it.

/// Stands before a value, a key or an end. None from any of its methods: this is no JSON; it is of no use after that.
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    /// The containers around the value that is being passed over: is it an object?
    around: Vec<bool>,
}

impl<'a> Scanner<'a> {
    /// A walk from the beginning of `text`.
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0, around: Vec::new() }
    }

    /// The first byte of the value that comes.
    pub(super) fn peek(&mut self) -> Option<u8> {
        self.blanks();
        self.byte()
    }

    /// Enters an object. `look` gets each key, as a repeated one each time, and must go past its value. Keys are as written, but
    /// one with an escape in it, which is read.
    pub(super) fn object(&mut self, mut look: impl FnMut(&mut Self, &[u8]) -> Option<()>) -> Option<()> {
        self.eat(b'{')?;
        if self.eat(b'}').is_some() {
            return Some(());
        }
        loop {
            self.eat(b'"')?;
            let (key, escaped) = self.string()?;
            self.eat(b':')?;
            if escaped {
                look(self, &unescaped(key))?;
            } else {
                look(self, key.as_bytes())?;
            }
            if self.eat(b',').is_none() {
                return self.eat(b'}');
            }
        }
    }

    /// Enters an array. `look` is called before each item and must go past it.
    pub(super) fn array(&mut self, mut look: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.eat(b'[')?;
        if self.eat(b']').is_some() {
            return Some(());
        }
        loop {
            look(self)?;
            if self.eat(b',').is_none() {
                return self.eat(b']');
            }
        }
    }

    /// Passes over a value of any kind and depth.
    pub(super) fn value(&mut self) -> Option<&'a str> {
        self.blanks();
        let from = self.at;
        self.around.clear();
        loop {
            match self.next()? {
                b'"' => drop(self.string()?),
                b'{' if self.eat(b'}').is_none() => {
                    self.around.push(true);
                    self.key()?;
                    continue;
                }
                b'[' if self.eat(b']').is_none() => {
                    self.around.push(false);
                    self.blanks();
                    continue;
                }
                b'{' | b'[' => {}
                b't' => self.word(b"rue")?,
                b'f' => self.word(b"alse")?,
                b'n' => self.word(b"ull")?,
                b'-' => {
                    let first = self.next()?;
                    self.number(first)?;
                }
                first => self.number(first)?,
            }
            if self.leave()? {
                return self.since(from);
            }
        }
    }

    /// Is there nothing more but blanks?
    pub(super) fn is_at_end(&mut self) -> bool {
        self.peek().is_none()
    }

    /// Where it stands, in bytes.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// What it went past since it stood there.
    pub(super) fn since(&self, from: usize) -> Option<&'a str> {
        self.text.get(from..self.at)
    }

    /// After a value: leaves what ends here and stands before the next value. True when nothing is around it any more.
    fn leave(&mut self) -> Option<bool> {
        while let Some(&object) = self.around.last() {
            self.blanks();
            match (self.next()?, object) {
                (b'}', true) | (b']', false) => drop(self.around.pop()),
                (b',', true) => {
                    self.key()?;
                    return Some(false);
                }
                (b',', false) => {
                    self.blanks();
                    return Some(false);
                }
                _ => return None,
            }
        }
        Some(true)
    }

    /// Passes over a key and its colon.
    fn key(&mut self) -> Option<()> {
        self.eat(b'"')?;
        self.string()?;
        self.eat(b':')?;
        self.blanks();
        Some(())
    }

    /// Passes over a string whose first quote is behind. What stands in it, and whether that has escapes.
    fn string(&mut self) -> Option<(&'a str, bool)> {
        let from = self.at;
        let mut escaped = false;
        loop {
            self.at += plain(self.rest());
            match self.next()? {
                b'"' => return Some((self.text.get(from..self.at - 1)?, escaped)),
                b'\\' => {
                    escaped = true;
                    self.escape()?;
                }
                // A control character, which must be escaped.
                _ => return None,
            }
        }
    }

    fn escape(&mut self) -> Option<()> {
        match self.next()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(()),
            b'u' => {
                let digits = self.rest().get(..4)?;
                self.at += 4;
                digits.iter().all(u8::is_ascii_hexdigit).then_some(())
            }
            _ => None,
        }
    }

    /// Passes over a number from its first digit on, sign behind.
    fn number(&mut self, first: u8) -> Option<()> {
        match first {
            b'0' => {}
            b'1'..=b'9' => self.digits(),
            _ => return None,
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digit()?;
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.byte() {
                self.at += 1;
            }
            self.digit()?;
        }
        Some(())
    }

    /// At least one digit.
    fn digit(&mut self) -> Option<()> {
        self.next()?.is_ascii_digit().then_some(())?;
        self.digits();
        Some(())
    }

    fn digits(&mut self) {
        self.at += self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
    }

    fn word(&mut self, rest: &[u8]) -> Option<()> {
        self.rest().starts_with(rest).then_some(())?;
        self.at += rest.len();
        Some(())
    }

    /// Goes past this byte, and blanks before it, if it is what comes.
    fn eat(&mut self, wanted: u8) -> Option<()> {
        (self.peek()? == wanted).then_some(())?;
        self.at += 1;
        Some(())
    }

    fn blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.byte() {
            self.at += 1;
        }
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.byte()?;
        self.at += 1;
        Some(byte)
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }
}

/// A key that is written with escapes; empty, which no key of ours is, when half a surrogate pair makes it no text.
fn unescaped(key: &str) -> Vec<u8> {
    serde_json::from_str::<String>(&format!("\"{key}\"")).unwrap_or_default().into_bytes()
}

/// How many bytes from the first on are neither quote nor backslash nor control characters. Eight at a time: most of an event
/// is text.
fn plain(bytes: &[u8]) -> usize {
    let mut words = bytes.chunks_exact(8);
    let mut length = 0;
    for word in &mut words {
        let special = word.try_into().map_or(u64::MAX, |word| special_bytes(u64::from_le_bytes(word)));
        if special != 0 {
            return length + special.trailing_zeros() as usize / 8;
        }
        length += 8;
    }
    length + words.remainder().iter().take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20)).count()
}

/// The high bit of each byte that is special, right up to the first one; above it a borrow may have set others.
fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGHS: u64 = ONES << 7;
    const QUOTE: u64 = 0x22;
    const BACKSLASH: u64 = 0x5c;
    let is_zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let quote = is_zero(word ^ (ONES * QUOTE));
    let backslash = is_zero(word ^ (ONES * BACKSLASH));
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (quote | backslash | control) & HIGHS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::de::IgnoredAny;

    use super::*;

    proptest! {
        #[test]
        fn it_takes_what_serde_json_takes_and_nothing_else(
            parts in prop::collection::vec(prop::sample::select(PARTS.to_vec()), 0..14),
        ) {
            agrees_with_serde_json(&parts.concat())?;
        }

        #[test]
        fn a_string_ends_where_serde_json_sees_its_end(text in r#"[ -~\n\x00éß"\\]{0,40}"#) {
            agrees_with_serde_json(&format!("\"{text}\""))?;
            agrees_with_serde_json(&serde_json::Value::from(text).to_string())?;
        }

        #[test]
        fn what_it_gives_of_an_object_is_what_serde_json_finds_there(
            members in prop::collection::vec(("[a-c\"\\\\é]{0,3}", prop::sample::select(VALUES.to_vec())), 0..5),
        ) {
            let written: Vec<_> =
                members.iter().map(|(key, value)| format!("{} :{value}", serde_json::Value::from(key.clone()))).collect();
            let text = format!(" {{{}}} ", written.join(","));
            let mut found = Vec::new();
            let mut scanner = Scanner::new(&text);
            let whole = scanner.object(|scanner, key| {
                found.push((String::from_utf8(key.to_vec()).unwrap(), scanner.value()?));
                Some(())
            });
            prop_assert!(whole.is_some() && scanner.is_at_end());
            prop_assert_eq!(found, members);
        }
    }

    #[test]
    fn no_depth_is_too_deep() {
        let depth = 100_000;
        let text = format!("{}1{}", "[{\"a\":".repeat(depth), "}]".repeat(depth));
        assert_eq!(Scanner::new(&text).value(), Some(&*text));
        assert_eq!(Scanner::new(&text[..text.len() - 1]).value(), None);
    }

    const PARTS: [&str; 28] = [
        "{", "}", "[", "]", ",", ":", "\"", "\"a\"", "\"a\":", "\\", "\\u00e9", "\\ud800", "\\n", "\\x",
        "\u{1}", " ", "\n", "0", "12", "-", ".", "e", "+", "true", "false", "null", "nul", "é",
    ];

    const VALUES: [&str; 8] =
        ["1", "-0.5e+9", "null", "\"x\\\"y\"", "[]", "{}", "[1, {\"a\" : []}]", "{\"b\":[true,false] }"];

    fn agrees_with_serde_json(text: &str) -> Result<(), TestCaseError> {
        let mut scanner = Scanner::new(text);
        let taken = scanner.value().is_some() && scanner.is_at_end();
        prop_assert_eq!(taken, serde_json::from_str::<IgnoredAny>(text).is_ok(), "{:?}", text);
        Ok(())
    }
}
