//! `hf:ORG/NAME[@REV]` as a name, checked before it becomes part of a path or an address.

use crate::RemoteError;
use std::fmt;
use std::str::FromStr;

/// What the name of a model on the hub begins with.
const PREFIX: &str = "hf:";

/// A model on the hub at a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubModel {
    id: String,
    revision: Option<String>,
}

impl HubModel {
    /// Whether a `--model` means the hub.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        text.starts_with(PREFIX)
    }

    /// `ORG/NAME`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Branch, tag or commit; `main` if none was given.
    #[must_use]
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or("main")
    }
}

impl fmt::Display for HubModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.id)?;
        self.revision.as_ref().map_or(Ok(()), |revision| write!(f, "@{revision}"))
    }
}

impl FromStr for HubModel {
    type Err = RemoteError;

    fn from_str(text: &str) -> Result<Self, RemoteError> {
        let fail = || {
            RemoteError::Usage(format!(
                "--model {text}: expected hf:ORG/NAME or hf:ORG/NAME@REVISION, such as hf:HuggingFaceTB/SmolLM2-135M-Instruct"
            ))
        };
        let rest = text.strip_prefix(PREFIX).ok_or_else(fail)?;
        let (id, revision) = match rest.split_once('@') {
            Some((id, revision)) => (id, Some(revision)),
            None => (rest, None),
        };
        let (org, name) = id.split_once('/').ok_or_else(fail)?;
        let revision_is_sound = |r: &str| r.split('/').all(is_plain_name);
        if !is_plain_name(org) || !is_plain_name(name) || !revision.is_none_or(revision_is_sound) {
            return Err(fail());
        }
        Ok(Self { id: id.to_owned(), revision: revision.map(str::to_owned) })
    }
}

/// Letters, digits, `.`, `_` and `-`, and neither `.` nor `..`.
pub(super) fn is_plain_name(name: &str) -> bool {
    let known = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    !name.is_empty() && name.bytes().all(known) && !name.bytes().all(|b| b == b'.')
}

/// Forty hex digits.
pub(super) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written_back() {
        for text in ["hf:Qwen/Qwen3-0.6B", "hf:a/b@main", "hf:a/b@refs/pr/1", "hf:a.b/c_d-e@v1.0"] {
            let model: HubModel = text.parse().expect(text);
            assert_eq!(model.to_string(), text);
        }
        let model: HubModel = "hf:a/b".parse().expect("sound");
        assert_eq!((model.id(), model.revision()), ("a/b", "main"));
    }

    #[test]
    fn what_could_lead_elsewhere_is_refused() {
        for bad in
            ["hf:", "hf:a", "hf:a/b/c", "hf:../b", "hf:a/..", "hf:a/b@", "hf:a/b@../x", "hf:a/b@x y", "hf:a/b?c", "a/b"]
        {
            assert!(bad.parse::<HubModel>().is_err(), "{bad}");
        }
    }
}
