//! Flags for a policy that an OpenAI-compatible server runs.

use crate::{Failure, environment};
use clap::{Args, ValueEnum};
use rasft_remote::RetryPolicy;
use rasft_remote::endpoint::{Api, Dialect};
use rasft_stages::{Access, PromptAs, ServedPolicy};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A policy that somebody else runs.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(default)]
#[command(next_help_heading = "Served policy")]
pub struct EndpointArgs {
    /// Address of an OpenAI-compatible server that samples; --model gives tokenizer and template then
    #[arg(long, value_name = "URL")]
    pub endpoint: Option<String>,
    /// Name of the model on the server
    #[arg(long, value_name = "NAME")]
    pub served_model: Option<String>,
    /// Interface of the server [default: completions with --model, chat without]
    #[arg(long, value_enum)]
    pub api: Option<ApiName>,
    /// Fields it understands: those of vLLM, SGLang and llama.cpp too, or only OpenAI's [default: extended]
    #[arg(long, value_enum)]
    pub dialect: Option<DialectName>,
    /// How a templated prompt is sent [default: tokens]
    #[arg(long, value_enum)]
    pub prompt_as: Option<PromptAsName>,
    /// Requests in flight at once [default: 16]
    #[arg(long, value_name = "N")]
    pub concurrency: Option<usize>,
    /// Longest time for one completion, seconds [default: 600]
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<f64>,
    /// Longest time for a connection to come about, seconds [default: 10]
    #[arg(long, value_name = "SECONDS")]
    pub connect_timeout: Option<f64>,
    /// Tries of each request after the first [default: 8]
    #[arg(long, value_name = "N")]
    pub max_retries: Option<u32>,
    /// Pause before the second try, seconds; it doubles with each further one, up to a minute [default: 0.5]
    #[arg(long, value_name = "SECONDS")]
    pub retry_pause: Option<f64>,
    /// Environment variable with the API key
    #[arg(long, value_name = "NAME")]
    pub api_key_env: Option<String>,
}

/// Interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ApiName {
    /// /v1/completions: prompts are templated here.
    Completions,
    /// /v1/chat/completions: the server applies its template.
    Chat,
}

/// Sets of fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DialectName {
    /// Also those of vLLM, SGLang and llama.cpp.
    Extended,
    /// OpenAI's own.
    Openai,
}

/// Forms of a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PromptAsName {
    /// Token ids.
    Tokens,
    /// Text.
    Text,
}

impl EndpointArgs {
    /// The served policy, if one is named. The API key is only read from the environment here.
    ///
    /// # Errors
    /// Flags that do not go together, a value out of range, or a variable that is not set.
    pub fn resolve(&self, has_model: bool) -> Result<Option<ServedPolicy>, Failure> {
        let Some(url) = self.endpoint.clone() else {
            return match self.given_without_endpoint() {
                None => Ok(None),
                Some(flag) => Err(Failure::usage(format!("--{flag} needs --endpoint: the address of the server"))),
            };
        };
        let served_model = self.served_model.clone().filter(|name| !name.is_empty()).ok_or_else(|| {
            Failure::usage("--endpoint needs --served-model: the model's name on the server (see its /v1/models)")
        })?;
        let api = match self.api {
            Some(ApiName::Completions) => Api::Completions,
            Some(ApiName::Chat) => Api::Chat,
            None if has_model => Api::Completions,
            None => Api::Chat,
        };
        if self.concurrency == Some(0) {
            return Err(Failure::usage("--concurrency must be at least 1"));
        }
        let default = RetryPolicy::default();
        let access = Access {
            url,
            key: self.api_key_env.as_deref().map(environment::secret).transpose()?,
            concurrency: self.concurrency.unwrap_or(16),
            timeout: seconds("timeout", self.timeout.unwrap_or(600.0))?,
            connect_timeout: seconds("connect-timeout", self.connect_timeout.unwrap_or(10.0))?,
            retry: RetryPolicy {
                max_retries: self.max_retries.unwrap_or(default.max_retries),
                base: self.retry_pause.map_or(Ok(default.base), |s| seconds("retry-pause", s))?,
                cap: default.cap,
            },
        };
        Ok(Some(ServedPolicy {
            served_model,
            api,
            dialect: self.dialect.map_or(Dialect::Extended, |d| match d {
                DialectName::Extended => Dialect::Extended,
                DialectName::Openai => Dialect::Openai,
            }),
            prompt_as: self.prompt_as.map_or(PromptAs::Tokens, |p| match p {
                PromptAsName::Tokens => PromptAs::Tokens,
                PromptAsName::Text => PromptAs::Text,
            }),
            access,
        }))
    }

    /// A flag that says nothing without a server.
    fn given_without_endpoint(&self) -> Option<&'static str> {
        let given = [
            ("served-model", self.served_model.is_some()),
            ("api", self.api.is_some()),
            ("dialect", self.dialect.is_some()),
            ("prompt-as", self.prompt_as.is_some()),
            ("api-key-env", self.api_key_env.is_some()),
            ("concurrency", self.concurrency.is_some()),
            ("timeout", self.timeout.is_some()),
            ("connect-timeout", self.connect_timeout.is_some()),
            ("max-retries", self.max_retries.is_some()),
            ("retry-pause", self.retry_pause.is_some()),
        ];
        given.into_iter().find(|(_, given)| *given).map(|(flag, _)| flag)
    }
}

fn seconds(flag: &str, value: f64) -> Result<Duration, Failure> {
    Duration::try_from_secs_f64(value)
        .ok()
        .filter(|d| !d.is_zero())
        .ok_or_else(|| Failure::usage(format!("--{flag} {value}: expected a number of seconds above 0")))
}
