//! Flags that decide how a problem is put to a model.

use clap::Args;
use rasft_stages::PromptParams;
use serde::{Deserialize, Serialize};

/// How a problem is put to a model.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PromptArgs {
    /// System prompt; empty for none [default: Please reason step by step, and put your final answer within \boxed{}.]
    #[arg(long, value_name = "TEXT")]
    pub system_prompt: Option<String>,
    /// Template for models that have none: `chatml`
    #[arg(long, value_name = "NAME")]
    pub fallback_template: Option<String>,
}

impl PromptArgs {
    /// Fills in the defaults.
    pub fn resolve(&self) -> PromptParams {
        let defaults = PromptParams::default();
        PromptParams {
            system_prompt: self.system_prompt.clone().unwrap_or(defaults.system_prompt),
            fallback_template: self.fallback_template.clone(),
        }
    }
}
