//! The two ways from verdicts to weights.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Which rule makes weights out of verdicts (algorithm.md Part A).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Exactly the published reference implementation, per problem (§6–§9).
    #[default]
    Reference,
    /// Supervision that moves smoothly and monotonically from the expert to the policy's own correct solutions.
    Calibrated,
}

impl Profile {
    /// The words of the command line and of configuration files.
    pub const WORDS: [&'static str; 2] = ["reference", "calibrated"];

    /// The word that stands for this profile.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reference => Self::WORDS[0],
            Self::Calibrated => Self::WORDS[1],
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Profile {
    type Err = rasft_types::UnknownWord;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "reference" => Ok(Self::Reference),
            "calibrated" => Ok(Self::Calibrated),
            _ => Err(rasft_types::UnknownWord { found: word.to_owned(), known: &Self::WORDS }),
        }
    }
}
