//! Keys and tokens that must not be shown.

use std::fmt;

/// A text that neither `Debug` nor any serialisation shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a key; white space around it is a copying accident. Nothing is left of an empty one.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_trimmed_and_not_shown() {
        let secret = Secret::new(" sk-123\n").expect("not empty");
        assert_eq!((secret.expose(), format!("{secret:?}").as_str()), ("sk-123", "Secret(…)"));
        assert_eq!(Secret::new(" \n"), None);
    }
}
