//! The network crate against servers of our own that behave badly in every way we know.

mod endpoint;
#[path = "../../../../tests/support/http.rs"]
mod http;
mod hub;
