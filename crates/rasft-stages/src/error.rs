//! One error for all stages, and the class that decides the exit code.

use thiserror::Error;

/// What kind of failure it is; the command line turns it into an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// Wrong flags or parameters.
    Usage,
    /// Input that cannot be used as it is.
    BadInput,
    /// An artifact whose bytes are not what they were.
    Corrupt,
    /// The machinery failed.
    Runtime,
    /// The user stopped it; partial work is kept.
    Interrupted,
}

/// Why a stage could not finish.
#[derive(Debug, Error)]
pub enum Error {
    /// Wrong flags or parameters.
    #[error("{0}")]
    Usage(String),
    /// Input that cannot be used as it is.
    #[error("{0}")]
    BadInput(String),
    /// The machinery failed.
    #[error("{0}")]
    Runtime(String),
    /// The user stopped it.
    #[error("interrupted: {0}")]
    Interrupted(String),
    /// Tables and manifests.
    #[error(transparent)]
    Data(#[from] rasft_data::DataError),
    /// The store.
    #[error(transparent)]
    Store(#[from] rasft_store::StoreError),
    /// Models, tokenizers and templates.
    #[error(transparent)]
    Model(#[from] rasft_model::ModelError),
    /// The rollout engine.
    #[error(transparent)]
    Generate(#[from] rasft_generate::GenerateError),
    /// Training.
    #[error(transparent)]
    Learn(#[from] rasft_learn::LearnError),
    /// Foreign formats.
    #[error(transparent)]
    Problems(#[from] rasft_problems::ProblemsError),
    /// The judge.
    #[error(transparent)]
    Judge(#[from] rasft_verify::JudgeError),
    /// Servers and hubs.
    #[error(transparent)]
    Remote(#[from] rasft_remote::RemoteError),
    /// Joins.
    #[error("a join failed: {0}")]
    Frame(#[from] polars::error::PolarsError),
}

impl Error {
    /// Wrong flags or parameters.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    /// Input that cannot be used as it is.
    pub fn bad_input(message: impl Into<String>) -> Self {
        Self::BadInput(message.into())
    }

    /// The machinery failed.
    pub fn runtime(message: impl Into<String>) -> Self {
        Self::Runtime(message.into())
    }

    /// What kind of failure it is.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Usage(_) => ErrorClass::Usage,
            Self::BadInput(_) | Self::Judge(_) => ErrorClass::BadInput,
            Self::Runtime(_) | Self::Frame(_) => ErrorClass::Runtime,
            Self::Interrupted(_) => ErrorClass::Interrupted,
            Self::Data(e) => data_class(e.class()),
            Self::Store(rasft_store::StoreError::OtherKind { .. }) => ErrorClass::Usage,
            Self::Store(e) => data_class(e.class()),
            Self::Model(e) => model_class(e),
            Self::Generate(
                rasft_generate::GenerateError::Parameter { .. } | rasft_generate::GenerateError::Memory { .. },
            ) => ErrorClass::Usage,
            Self::Generate(rasft_generate::GenerateError::Model(e)) => model_class(e),
            Self::Generate(_) => ErrorClass::Runtime,
            Self::Learn(e) => e.class().map_or(ErrorClass::Usage, model_error_class),
            Self::Remote(e) => match e.class() {
                rasft_remote::ErrorClass::Usage => ErrorClass::Usage,
                rasft_remote::ErrorClass::BadInput => ErrorClass::BadInput,
                rasft_remote::ErrorClass::Runtime => ErrorClass::Runtime,
            },
            Self::Problems(e) => match e.class() {
                rasft_problems::Class::Usage => ErrorClass::Usage,
                rasft_problems::Class::BadInput => ErrorClass::BadInput,
                rasft_problems::Class::Corrupt => ErrorClass::Corrupt,
                rasft_problems::Class::Io => ErrorClass::Runtime,
            },
        }
    }
}

fn data_class(class: rasft_data::Class) -> ErrorClass {
    match class {
        rasft_data::Class::BadInput => ErrorClass::BadInput,
        rasft_data::Class::Corrupt => ErrorClass::Corrupt,
        rasft_data::Class::Io => ErrorClass::Runtime,
    }
}

fn model_class(error: &rasft_model::ModelError) -> ErrorClass {
    model_error_class(error.class())
}

fn model_error_class(class: rasft_model::ErrorClass) -> ErrorClass {
    match class {
        rasft_model::ErrorClass::BadInput => ErrorClass::BadInput,
        rasft_model::ErrorClass::Corrupt => ErrorClass::Corrupt,
        rasft_model::ErrorClass::Runtime => ErrorClass::Runtime,
    }
}
