/// A text, or the beginning of one.
#[derive(Debug)]
pub(super) struct Pattern {
    text: Box<str>,
    is_beginning: bool,
}

impl Pattern {
    /// What is written so; a `*` at its end stands for whatever comes there.
    pub(super) fn of(written: &str) -> Self {
        let beginning = written.strip_suffix('*');
        Self { text: beginning.unwrap_or(written).into(), is_beginning: beginning.is_some() }
    }

    pub(super) fn fits(&self, text: &str) -> bool {
        if self.is_beginning { text.starts_with(&*self.text) } else { *text == *self.text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_at_the_end_stands_for_anything_and_elsewhere_for_itself() {
        for (written, text, fits) in [
            ("message", "message", true),
            ("message", "messages", false),
            ("mess*", "message", true),
            ("mess*", "mess", true),
            ("mess*", "mes", false),
            ("*", "", true),
            ("*a", "*a", true),
            ("*a", "ba", false),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(Pattern::of(written).fits(text), fits, "{written:?} {text:?}");
        }
    }
}
