//! What comes over the network: samples of an OpenAI-compatible server, and model files of a hub.
//!
//! Invariants: a secret is only ever written into a request's header; what a server says is bounded in size, and its
//! words are shortened and stripped of control characters before they reach a terminal; no delay and no seed comes from
//! a clock or a global generator. Absent on purpose: tables, tokenizers, reading the environment.

pub mod endpoint;
mod error;
pub mod hub;
mod secret;

pub use endpoint::{Endpoint, EndpointConfig, RetryPolicy};
pub use error::{ErrorClass, RemoteError};
pub use hub::{HubModel, HubSettings};
pub use secret::Secret;
