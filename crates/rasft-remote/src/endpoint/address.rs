//! Where a server is: one address as users write it, and the paths below it.

use crate::RemoteError;
use url::{Host, Url};

/// The root of a server and the base of its OpenAI-compatible interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    root: String,
    api: String,
    loopback: bool,
    encrypted: bool,
}

impl Address {
    /// `http://host:8000` and `http://host:8000/v1` mean the same; a path that does not end in a version gets `/v1`.
    ///
    /// # Errors
    /// Not an http(s) URL, or one with credentials, a query or a fragment.
    pub(crate) fn parse(text: &str) -> Result<Self, RemoteError> {
        let fail = |why: &str| {
            // The text itself is not repeated: it may hold a password.
            RemoteError::Usage(format!("--endpoint: {why}\nhint: give an address such as http://127.0.0.1:8000/v1"))
        };
        let url = Url::parse(text).map_err(|e| fail(&format!("not a URL: {e}")))?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(fail("expected http:// or https://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(fail("credentials do not belong into the address; put the key into an environment variable"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(fail("an address has neither query nor fragment"));
        }
        let loopback = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(ip)) => ip.is_loopback(),
            Some(Host::Ipv6(ip)) => ip.is_loopback(),
            None => false,
        };
        let encrypted = url.scheme() == "https";
        let whole = url.as_str().trim_end_matches('/');
        let (parent, last) = whole.rsplit_once('/').unwrap_or((whole, ""));
        let versioned = last.strip_prefix('v').is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
            && url.path() != "/";
        let (root, api) =
            if versioned { (parent.to_owned(), whole.to_owned()) } else { (whole.to_owned(), format!("{whole}/v1")) };
        Ok(Self { root, api, loopback, encrypted })
    }

    /// A path of the OpenAI-compatible interface.
    pub(crate) fn api(&self, path: &str) -> String {
        format!("{}/{path}", self.api)
    }

    /// A path of the server itself.
    pub(crate) fn root(&self, path: &str) -> String {
        format!("{}/{path}", self.root)
    }

    /// The interface's base, for messages.
    pub(crate) fn shown(&self) -> &str {
        &self.api
    }

    /// Whether the server is this machine, which no proxy can stand before.
    pub(crate) const fn is_loopback(&self) -> bool {
        self.loopback
    }

    /// Whether a key sent there can be read on the way.
    pub(crate) const fn is_exposed(&self) -> bool {
        !self.encrypted && !self.loopback
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_may_be_left_out() {
        let check = |text: &str, root: &str, api: &str| {
            let address = Address::parse(text).expect(text);
            assert_eq!((address.root("x"), address.api("y")), (format!("{root}/x"), format!("{api}/y")), "{text}");
        };
        check("http://127.0.0.1:8000", "http://127.0.0.1:8000", "http://127.0.0.1:8000/v1");
        check("http://127.0.0.1:8000/", "http://127.0.0.1:8000", "http://127.0.0.1:8000/v1");
        check("http://127.0.0.1:8000/v1/", "http://127.0.0.1:8000", "http://127.0.0.1:8000/v1");
        check("https://host/llm/v2", "https://host/llm", "https://host/llm/v2");
        check("https://host/llm", "https://host/llm", "https://host/llm/v1");
        check("http://v1", "http://v1", "http://v1/v1");
    }

    #[test]
    fn what_is_no_address_is_refused_without_repeating_a_password() {
        for bad in ["localhost:8000", "ftp://host", "http://user:hunter2@host/v1", "http://host/v1?key=hunter2", "x"] {
            let message = Address::parse(bad).expect_err(bad).to_string();
            assert!(message.starts_with("--endpoint: ") && !message.contains("hunter2"), "{message}");
        }
    }

    #[test]
    fn loopback_and_exposure() {
        let flags = |text: &str| Address::parse(text).map(|a| (a.is_loopback(), a.is_exposed())).expect(text);
        assert_eq!(flags("http://localhost:1"), (true, false));
        assert_eq!(flags("http://[::1]:1"), (true, false));
        assert_eq!(flags("http://10.0.0.7:1"), (false, true));
        assert_eq!(flags("https://host"), (false, false));
    }
}
