//! How a problem is put to a model: the model's own chat template around a system prompt and the problem's text.

use crate::Error;
use crate::policy::Policy;
use rasft_data::hash128;
use rasft_model::item::reference::SYSTEM_PROMPT;
use rasft_model::template::TemplateChoice;
use rasft_model::{ChatTemplate, Specials, TextCodec, Tokenizer};
use serde::{Deserialize, Serialize};

/// Parameters of a prompt. Part of every key whose stage talks to a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptParams {
    /// System turn; empty for none.
    pub system_prompt: String,
    /// `chatml` for models without a template of their own.
    pub fallback_template: Option<String>,
}

impl Default for PromptParams {
    fn default() -> Self {
        Self { system_prompt: SYSTEM_PROMPT.to_owned(), fallback_template: None }
    }
}

impl PromptParams {
    /// Refuses a template that there is not.
    pub fn validate(&self) -> Result<(), Error> {
        self.template().map(drop)
    }

    fn template(&self) -> Result<TemplateChoice, Error> {
        match self.fallback_template.as_deref() {
            None => Ok(TemplateChoice::Own),
            Some("chatml") => Ok(TemplateChoice::OwnOrChatMl),
            Some(other) => {
                Err(Error::usage(format!("--fallback-template {other}: expected chatml, the only built-in template")))
            }
        }
    }
}

/// A tokenizer with the template that writes its prompts.
pub struct Prompter {
    /// The model's tokenizer.
    pub tokenizer: Tokenizer,
    template: ChatTemplate,
    system: Option<String>,
}

impl Prompter {
    /// Reads tokenizer and template from the policy's directory.
    pub fn open(policy: &Policy, params: &PromptParams) -> Result<Self, Error> {
        let choice = params.template()?;
        let tokenizer = Tokenizer::from_dir(policy.dir())?;
        let template = ChatTemplate::from_dir(policy.dir(), &tokenizer, choice)?;
        let system = (!params.system_prompt.is_empty()).then(|| params.system_prompt.clone());
        Ok(Self { tokenizer, template, system })
    }

    /// The templated prompt that ends where the assistant begins.
    pub fn text(&self, problem: &str) -> Result<String, Error> {
        Ok(self.template.prompt(self.system.as_deref(), problem)?)
    }

    /// Hash of what surrounds a problem.
    pub fn template_hash(&self) -> String {
        hash128(&[self.template.source().as_bytes(), self.system.as_deref().unwrap_or_default().as_bytes()])
    }

    /// Its tokens. The template writes special tokens itself, so none are added.
    pub fn ids(&self, problem: &str) -> Result<Vec<u32>, Error> {
        Ok(self.tokenizer.encode(&self.text(problem)?, Specials::Omit)?.ids)
    }
}
