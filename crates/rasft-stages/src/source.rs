//! Where samples come from: a policy of ours, a served one, or a served one whose directory is at hand too.

use crate::job::Job;
use crate::params::Batch;
use crate::policy::Policy;
use crate::prompt::{PromptParams, Prompter};
use crate::sample::{Completer, Embedded};
use crate::served::{Served, ServedPolicy};
use crate::{Ctx, Error, SamplingParams};
use std::path::Path;

/// A policy as far as it is here, and what identifies it.
pub struct Source {
    policy: Option<Policy>,
    prompter: Option<Prompter>,
    id: String,
    is_served: bool,
}

impl Source {
    /// Opens what is here and names it as an input; `served` says that the policy itself runs elsewhere.
    ///
    /// # Errors
    /// A model that cannot be opened, a policy that is neither here nor served, or parameters that do not fit the server.
    pub fn open(
        ctx: &Ctx,
        job: &mut Job,
        model: Option<&Path>,
        prompt: &PromptParams,
        sampling: &SamplingParams,
        served: Option<&ServedPolicy>,
    ) -> Result<Self, Error> {
        let policy = match (model, served) {
            (Some(path), None) => Some(job.policy(ctx, "model", path)?),
            (Some(path), Some(_)) => {
                // The weights run elsewhere; if they are here too, they belong to the policy's identity.
                let policy = Policy::open_with_weights_at_hand(path, ctx)?;
                job.input("model", policy.input_hash(), path);
                Some(policy)
            }
            (None, Some(_)) => None,
            (None, None) => return Err(Error::usage("missing --model: the policy to sample from")),
        };
        if let Some(served) = served {
            served.validate(policy.is_some(), sampling)?;
        }
        let prompter = policy.as_ref().map(|policy| Prompter::open(policy, prompt)).transpose()?;
        let id = match (served, &policy) {
            (Some(served), policy) => served.id(policy.as_ref()),
            (None, Some(policy)) => policy.id().to_owned(),
            (None, None) => String::new(),
        };
        Ok(Self { policy, prompter, id, is_served: served.is_some() })
    }

    /// The `policy_id` and `model_id` of the tables.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The policy's directory, if it is here.
    pub fn policy(&self) -> Option<&Policy> {
        self.policy.as_ref()
    }

    /// Tokenizer and template, if they are here.
    pub fn prompter(&self) -> Option<&Prompter> {
        self.prompter.as_ref()
    }

    /// Longest sequence of the policy; without its config only the server knows.
    ///
    /// # Errors
    /// A `config.json` that is there but not supported.
    pub fn context(&self) -> Result<usize, Error> {
        match &self.policy {
            Some(policy) if !self.is_served || policy.dir().find("config.json").is_some() => {
                Ok(policy.dir().config()?.max_position_embeddings)
            }
            _ => Ok(usize::MAX),
        }
    }

    /// What makes the completions; nothing is loaded or sent before the first is wanted.
    ///
    /// # Errors
    /// An address or key that cannot be used.
    pub fn completer<'a>(
        &'a self,
        served: Option<&'a ServedPolicy>,
        prompt: &'a PromptParams,
        device: Option<&'a str>,
        batch: Batch,
    ) -> Result<Box<dyn Completer + 'a>, Error> {
        Ok(match served {
            Some(served) => Box::new(Served::new(served, self, prompt)?),
            None => Box::new(Embedded::new(self, device, batch.options())),
        })
    }
}
