//! The model's own chat template, rendered the way transformers renders it, and the same on every day of the year.
//!
//! `strftime_now` exists only when a date is given: templates that guard it (Llama 3.x) fall back to their own fixed date,
//! templates that do not are refused with advice, so the clock never enters a prompt. Absent on purpose: tools, documents
//! and assistant masks.

use minijinja::value::Value;
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior};
use minijinja_contrib::pycompat::unknown_method_callback;

use crate::dir::ModelDir;
use crate::error::ModelError;
use crate::tokenizer::{TextCodec as _, Tokenizer};

mod date;
mod python_json;

pub use date::Date;

/// ChatML, the built-in choice for models without a template (algorithm.md §0).
const CHATML: &str = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + \
                      '<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";
const NAME: &str = "chat_template";
/// Instructions one rendering may take; real templates need thousands.
const FUEL: u64 = 20_000_000;

/// One turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// What was said.
    pub content: String,
}

impl Message {
    /// A system turn.
    #[must_use]
    pub fn system(content: impl Into<String>) -> Self {
        Self { role: "system".into(), content: content.into() }
    }

    /// A user turn.
    #[must_use]
    pub fn user(content: impl Into<String>) -> Self {
        Self { role: "user".into(), content: content.into() }
    }

    /// An assistant turn.
    #[must_use]
    pub fn assistant(content: impl Into<String>) -> Self {
        Self { role: "assistant".into(), content: content.into() }
    }
}

/// Whether the rendering ends with the opening of the assistant's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GenerationPrompt {
    /// It does: the model answers next.
    Add,
    /// It does not: the conversation is complete.
    Omit,
}

/// Which template to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TemplateChoice {
    /// The model's own; an error if it has none.
    #[default]
    Own,
    /// The built-in ChatML, whatever the model has.
    ChatMl,
    /// The model's own, ChatML if it has none.
    OwnOrChatMl,
}

/// What a template may refer to besides the messages.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TemplateContext {
    /// Text of the BOS token, empty if there is none.
    pub bos_token: String,
    /// Text of the turn-ending EOS token.
    pub eos_token: String,
    /// The date `strftime_now` tells; without one the function does not exist.
    pub date: Option<Date>,
    /// Further variables (`enable_thinking`, say), in order.
    pub extra: Vec<(String, serde_json::Value)>,
}

/// A compiled chat template.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
    origin: String,
    context: TemplateContext,
}

impl ChatTemplate {
    /// The template of a model directory with the special tokens of its tokenizer.
    ///
    /// # Errors
    /// The model has no template and `choice` asks for its own, or the template does not compile.
    pub fn from_dir(dir: &ModelDir, tokenizer: &Tokenizer, choice: TemplateChoice) -> Result<Self, ModelError> {
        let context = TemplateContext {
            bos_token: tokenizer.bos_text().unwrap_or_default().to_owned(),
            eos_token: tokenizer.eos_text().to_owned(),
            ..TemplateContext::default()
        };
        let own = match choice {
            TemplateChoice::Own => Some(dir.require_template("this stage")?),
            TemplateChoice::OwnOrChatMl => dir.template()?,
            TemplateChoice::ChatMl => None,
        };
        match own {
            Some((source, path)) => Self::compile(source, path.display().to_string(), context),
            None => Self::chatml(context),
        }
    }

    /// The built-in ChatML.
    ///
    /// # Errors
    /// None in practice; the template is ours.
    pub fn chatml(context: TemplateContext) -> Result<Self, ModelError> {
        Self::compile(CHATML.to_owned(), "built-in chatml".into(), context)
    }

    /// A template from its text; `origin` is named in errors.
    ///
    /// # Errors
    /// The text is no Jinja.
    pub fn compile(source: String, origin: String, context: TemplateContext) -> Result<Self, ModelError> {
        let mut environment = Environment::new();
        let mut syntax = minijinja::syntax::SyntaxConfig::builder();
        syntax.trim_blocks(true).lstrip_blocks(true);
        let built = syntax.build().map_err(|e| fail(&origin, &e))?;
        environment.set_syntax(built);
        environment.set_undefined_behavior(UndefinedBehavior::Lenient);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_unknown_method_callback(unknown_method_callback);
        environment.set_fuel(Some(FUEL));
        environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_filter("tojson", python_json::tojson);
        if let Some(date) = context.date {
            environment.add_function("strftime_now", move |format: String| {
                date.format(&format).map_err(|e| Error::new(ErrorKind::InvalidOperation, e))
            });
        }
        environment.add_template_owned(NAME, source.clone()).map_err(|e| fail(&origin, &e))?;
        Ok(Self { environment, source, origin, context })
    }

    /// The same template on a given date, for templates that write one into every prompt.
    ///
    /// # Errors
    /// None in practice; the template has compiled before.
    pub fn with_date(self, date: Date) -> Result<Self, ModelError> {
        Self::compile(self.source, self.origin, TemplateContext { date: Some(date), ..self.context })
    }

    /// The same template with further variables (`enable_thinking`, say).
    #[must_use]
    pub fn with_variables(mut self, variables: impl IntoIterator<Item = (String, serde_json::Value)>) -> Self {
        self.context.extra.extend(variables);
        self
    }

    /// The text of a conversation.
    ///
    /// # Errors
    /// The template refuses the conversation (`raise_exception`) or asks for something that does not exist.
    pub fn render(&self, messages: &[Message], tail: GenerationPrompt) -> Result<String, ModelError> {
        let turn = |m: &Message| Value::from_pairs([("role", m.role.as_str()), ("content", m.content.as_str())]);
        let turns: Value = messages.iter().map(turn).collect();
        let mut variables: Vec<(String, Value)> = vec![
            ("messages".into(), turns),
            ("add_generation_prompt".into(), Value::from(tail == GenerationPrompt::Add)),
            ("bos_token".into(), Value::from(self.context.bos_token.as_str())),
            ("eos_token".into(), Value::from(self.context.eos_token.as_str())),
        ];
        for (name, value) in &self.context.extra {
            variables.push((name.clone(), Value::from(minijinja::value::Serde(value))));
        }
        let template = self.environment.get_template(NAME).map_err(|e| fail(&self.origin, &e))?;
        template.render(Value::from_pairs(variables)).map_err(|e| fail(&self.origin, &e))
    }

    /// The prompt for one question: system turn (if any), user turn, opening of the answer.
    ///
    /// # Errors
    /// As [`ChatTemplate::render`].
    pub fn prompt(&self, system: Option<&str>, user: &str) -> Result<String, ModelError> {
        let mut messages: Vec<Message> = system.map(Message::system).into_iter().collect();
        messages.push(Message::user(user));
        self.render(&messages, GenerationPrompt::Add)
    }

    /// The template's text, for cache keys.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Where it came from.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }
}

fn fail(origin: &str, error: &Error) -> ModelError {
    let mut detail = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        detail = format!("{detail}: {inner}");
        cause = inner.source();
    }
    let hint = if detail.contains("strftime_now") {
        "this template writes today's date into the prompt: give a fixed template date"
    } else if detail.contains("fuel") {
        "the template does not end"
    } else {
        "check the roles and their order, or choose another template"
    };
    ModelError::Template { origin: origin.into(), detail: detail.into(), hint: hint.into() }
}

#[cfg(test)]
mod tests;
