//! Any record, with a map from columns to fields; without a map, fields named like the columns.
//!
//! `instruction` and `response` are understood too, since the reference implementation's data have them (algorithm.md §0).
//! A field that the map names must be in every record (it may be null): a misspelt map must not read as "no answers".

use super::Draft;
use crate::error::ProblemsError;
use crate::record::{Fault, Fields};
use rasft_types::{CodeSpec, Domain};
use serde_json::Value;
use std::collections::BTreeMap;

/// The columns that can be mapped, each with the fields that fill it when it is not, the first that is there.
const COLUMNS: [(&str, &[&str]); 9] = [
    ("prompt", &["prompt", "instruction"]),
    ("expert_response", &["expert_response", "response"]),
    ("answer", &["answer"]),
    ("domain", &["domain"]),
    ("source", &["source"]),
    ("entry_point", &["entry_point", "code.entry_point"]),
    ("setup", &["setup", "code.setup"]),
    ("tests", &["tests", "code.tests"]),
    ("prompt_is_prefix", &["prompt_is_prefix", "code.prompt_is_prefix"]),
];

/// Which field fills which column.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ColumnMap(BTreeMap<String, String>);

impl ColumnMap {
    /// Reads `column=field` pairs; nested fields are written with dots.
    ///
    /// # Errors
    /// `Usage`: no `=`, an unknown column, an empty field, or a column mapped twice.
    pub fn parse<S: AsRef<str>>(pairs: &[S]) -> Result<Self, ProblemsError> {
        let known: Vec<&str> = COLUMNS.iter().map(|(column, _)| *column).collect();
        let mut map = BTreeMap::new();
        for pair in pairs {
            let pair = pair.as_ref();
            let usage = |detail: &str| ProblemsError::Usage {
                option: "--map",
                detail: format!("{pair:?}: {detail}"),
                hint: format!("write column=field, as in --map prompt=question; columns are {}", known.join(", ")),
            };
            let (column, field) = pair.split_once('=').ok_or_else(|| usage("no `=`"))?;
            if !known.contains(&column) {
                return Err(usage(&format!("unknown column {column:?}")));
            }
            if field.is_empty() {
                return Err(usage("no field"));
            }
            if map.insert(column.to_owned(), field.to_owned()).is_some() {
                return Err(usage("the column is mapped twice"));
            }
        }
        Ok(Self(map))
    }

    /// Whether nothing is mapped.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The pairs, by column: for manifests and keys.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(column, field)| (column.as_str(), field.as_str()))
    }

    /// The field that fills a column in this record; the column's own name if none does.
    fn field(&self, column: &str, fields: &Fields) -> Result<String, Fault> {
        if let Some(field) = self.0.get(column) {
            if fields.peek(field).is_none() {
                let expected = format!("the field that --map gives for {column}");
                return Err(Fault::new(field, &expected, fields.names(), "mend the spelling in --map"));
            }
            return Ok(field.clone());
        }
        let defaults = COLUMNS.iter().find(|(name, _)| *name == column).map_or(&[][..], |(_, defaults)| *defaults);
        Ok((*defaults.iter().find(|name| fields.peek(name).is_some()).unwrap_or(&column)).to_owned())
    }
}

pub(super) fn draft(fields: &mut Fields, map: &ColumnMap, takes_source: bool) -> Result<Draft, Fault> {
    let field = |column: &str| map.field(column, fields);
    let prompt_field = field("prompt")?;
    let expert_field = field("expert_response")?;
    let answer_field = field("answer")?;
    let domain_field = field("domain")?;
    let source_field = field("source")?;
    let code_fields = [field("entry_point")?, field("setup")?, field("tests")?, field("prompt_is_prefix")?];

    let prompt = fields.required_text(&prompt_field)?;
    let expert_response = fields.text(&expert_field)?;
    let answer = fields.answer(&answer_field)?;
    let stated = fields.text(&domain_field)?;
    let source = if takes_source { fields.text(&source_field)? } else { None };
    let code = code(fields, &code_fields)?;
    let domain = match stated.as_deref() {
        None if code.tests.is_empty() => Domain::Math,
        None => Domain::Code,
        Some(word) => word
            .parse()
            .map_err(|_| Fault::new(&domain_field, "`math` or `code`", format!("{word:?}"), "write one of the two"))?,
    };
    fields.take("problem_id");
    unfold_meta(fields);
    match domain {
        Domain::Code if code.tests.is_empty() => Err(fields.missing(&code_fields[2], "tests for a code problem")),
        Domain::Code => Ok(Draft { domain, source, prompt, expert_response, answer: None, code: Some(code) }),
        Domain::Math if answer.is_none() && expert_response.is_none() => {
            Err(fields.missing(&answer_field, "an answer or an expert response"))
        }
        Domain::Math => Ok(Draft { domain, source, prompt, expert_response, answer, code: None }),
    }
}

fn code(fields: &mut Fields, [entry_point, setup, tests, prefix]: &[String; 4]) -> Result<CodeSpec, Fault> {
    // An exported problems table holds `"code": null` for mathematics.
    if fields.peek("code").is_some_and(Value::is_null) {
        fields.take("code");
    }
    let entry_point = fields.text(entry_point)?;
    let setup = fields.text(setup)?.unwrap_or_default();
    let tests = fields.texts(tests)?;
    let prompt_is_prefix = match fields.take(prefix) {
        None => false,
        Some(Value::Bool(truth)) => truth,
        Some(other) => {
            let found = crate::record::kind_of(&other);
            return Err(Fault::new(prefix, "true or false", found, "write a JSON truth value"));
        }
    };
    Ok(CodeSpec { entry_point, setup, tests, prompt_is_prefix })
}

/// `meta` of an exported problems table is the text of an object: its entries become fields again.
fn unfold_meta(fields: &mut Fields) {
    let inner = match fields.peek("meta") {
        Some(Value::String(text)) => serde_json::from_str::<Value>(text).ok(),
        Some(Value::Object(map)) => Some(Value::Object(map.clone())),
        _ => None,
    };
    if let Some(Value::Object(map)) = inner {
        fields.take("meta");
        for (name, value) in map {
            fields.keep(&name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::Format;
    use crate::formats::testing::convert;
    use crate::import::ImportOptions;
    use serde_json::json;

    fn options(pairs: &[&str]) -> ImportOptions {
        ImportOptions { map: ColumnMap::parse(pairs).unwrap(), ..ImportOptions::new(Format::Jsonl) }
    }

    #[test]
    fn maps_nested_and_default_fields() {
        let record = json!({"q": {"text": "P", "id": 7}, "gold": 27.0, "response": "R", "source": "mine"});
        let p = convert(&options(&["prompt=q.text", "answer=gold"]), record).unwrap();
        assert_eq!(
            (p.prompt.as_str(), p.answer.as_deref(), p.expert_response.as_deref()),
            ("P", Some("27"), Some("R"))
        );
        assert_eq!((p.source.as_str(), p.meta.as_str()), ("mine", r#"{"q":{"id":7}}"#));
        let p = convert(&options(&[]), json!({"instruction": "P", "response": "R"})).unwrap();
        assert_eq!((p.prompt.as_str(), p.answer, p.domain), ("P", None, Domain::Math));
    }

    #[test]
    fn one_field_may_fill_two_columns() {
        let p = convert(
            &options(&["expert_response=solution", "answer=solution"]),
            json!({"prompt": "P", "solution": "5"}),
        );
        let p = p.unwrap();
        assert_eq!((p.expert_response.as_deref(), p.answer.as_deref(), p.meta.as_str()), (Some("5"), Some("5"), "{}"));
    }

    #[test]
    fn an_exported_table_comes_back() {
        let source =
            json!({"prompt": "P", "tests": ["assert f(1)"], "entry_point": "f", "expert_response": "E", "k": [1]});
        let p = convert(&options(&[]), source).unwrap();
        let again = convert(&options(&[]), serde_json::to_value(&p).unwrap()).unwrap();
        assert_eq!(p, again);
        let m = convert(&options(&[]), json!({"prompt": "P", "answer": 2, "level": 3})).unwrap();
        assert_eq!(m, convert(&options(&[]), serde_json::to_value(&m).unwrap()).unwrap());
    }

    #[test]
    fn bad_maps_are_usage_errors() {
        for (pairs, says) in [
            (vec!["prompt"], "no `=`"),
            (vec!["promt=q"], "unknown column \"promt\""),
            (vec!["prompt="], "no field"),
            (vec!["prompt=a", "prompt=b"], "twice"),
        ] {
            let error = ColumnMap::parse(&pairs).unwrap_err();
            assert_eq!(error.class(), crate::error::Class::Usage);
            assert!(error.to_string().contains(says), "{error}");
        }
    }
}
