//! What can go wrong beyond the wire, and whose fault it is.

use std::path::PathBuf;

/// Whose fault an error is; binaries turn it into an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// A flag cannot be meant like this (exit 2).
    Usage,
    /// The server or the hub has something else than what was named (exit 3).
    BadInput,
    /// The network or the other side failed (exit 1).
    Runtime,
}

/// Any failure of this crate.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// An address or parameter that cannot be used.
    #[error("{0}")]
    Usage(String),
    /// The server does not serve the model that was named.
    #[error("{url}: serves no model {asked:?}; it serves {served}\nhint: give one of these as --served-model")]
    WrongModel {
        /// The server.
        url: String,
        /// What was named.
        asked: String,
        /// What there is.
        served: String,
    },
    /// The server cuts text into other tokens than the tokenizer that was given.
    #[error(
        "{url}: the server's tokenizer is not the one given: {detail}\nhint: give the directory of the served model as --model"
    )]
    WrongTokenizer {
        /// The server.
        url: String,
        /// Where they differ.
        detail: String,
    },
    /// The server refused a request for good.
    #[error("{url}: refused with status {status}: {message}\nhint: {hint}")]
    Refused {
        /// The server.
        url: String,
        /// HTTP status.
        status: u16,
        /// The server's words, shortened.
        message: String,
        /// How to mend it.
        hint: String,
    },
    /// An answer that this toolkit cannot use, whatever the number of tries.
    #[error("{url}: {detail}\nhint: {hint}")]
    Unusable {
        /// The server.
        url: String,
        /// What is wrong.
        detail: String,
        /// How to mend it.
        hint: String,
    },
    /// All tries failed.
    #[error(
        "{url}: {what}: gave up after {}; the last one: {last}\nhint: run the same command again when the server is well; what had finished is kept",
        if *tries == 1 { "1 try".to_owned() } else { format!("{tries} tries") }
    )]
    GaveUp {
        /// The server.
        url: String,
        /// What was asked for.
        what: String,
        /// How often.
        tries: u32,
        /// Why the last one failed.
        last: String,
    },
    /// The HTTP client cannot be set up.
    #[error("cannot set up the HTTP client: {0}")]
    Client(String),
    /// A model on the hub that cannot be had.
    #[error("{model}: {detail}\nhint: {hint}")]
    Hub {
        /// `hf:ORG/NAME@REV`.
        model: String,
        /// What is wrong.
        detail: String,
        /// How to mend it.
        hint: String,
        /// Whose fault it is.
        class: ErrorClass,
    },
    /// The hub's cache cannot be written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

impl RemoteError {
    /// Whose fault it is.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Usage(_) => ErrorClass::Usage,
            Self::WrongModel { .. } | Self::WrongTokenizer { .. } => ErrorClass::BadInput,
            Self::Hub { class, .. } => *class,
            Self::Refused { .. } | Self::Unusable { .. } | Self::GaveUp { .. } | Self::Client(_) | Self::Io { .. } => {
                ErrorClass::Runtime
            }
        }
    }
}

/// A stranger's words, made fit for a terminal: one line, no control or direction characters, at most 300 characters.
pub(crate) fn shortened(text: &str) -> String {
    const MOST: usize = 300;
    let odd = |c: char| {
        c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let tame = |c: char| if odd(c) { ' ' } else { c };
    let mut words: String = text.trim().chars().take(MOST).map(tame).collect();
    if text.trim().chars().count() > MOST {
        words.push('…');
    }
    words
}
