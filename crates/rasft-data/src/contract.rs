//! The machine-readable contract of every table: what `schemas/*.json` holds.

use crate::column::Column;
use crate::table::Table;
use crate::tables::{PairRow, RejectRow};
use crate::widen::describe;
use rasft_types as t;
use serde_json::{Value, json};

/// One file of `schemas/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaFile {
    /// Table name; the file is `<name>.json`.
    pub name: &'static str,
    /// The text of the file.
    pub json: String,
}

/// The contracts of all tables, in pipeline order.
pub fn schema_json() -> Vec<SchemaFile> {
    vec![
        contract::<t::Problem>(),
        contract::<t::ExpertLoss>(),
        contract::<t::DifficultyRow>(),
        contract::<t::Rollout>(),
        contract::<t::Verdict>(),
        contract::<t::Solvability>(),
        contract::<t::MixtureRow>(),
        contract::<t::StepMetrics>(),
        contract::<t::EvalSampleRow>(),
        contract::<t::EvalSummaryRow>(),
        contract::<t::EvalComparisonRow>(),
        contract::<RejectRow>(),
        contract::<PairRow>(),
        contract::<t::JudgedPair>(),
    ]
}

fn contract<T: Table>() -> SchemaFile {
    let columns: Vec<Value> = T::columns().iter().map(column).collect();
    let contract = json!({ "name": T::NAME, "version": T::VERSION, "about": T::ABOUT, "columns": columns });
    SchemaFile { name: T::NAME, json: format!("{:#}\n", crate::canonical::sorted(&contract)) }
}

fn column(column: &Column) -> Value {
    let mut entry = json!({
        "name": column.name,
        "type": describe(&column.data_type),
        "nullable": column.nullable,
        "required_in_foreign": column.required,
        "about": column.about,
    });
    if !column.unit.is_empty() {
        entry["unit"] = column.unit.into();
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// `RASFT_UPDATE_SCHEMAS=1` rewrites the committed files; that is all the variable is for.
    #[test]
    fn committed_schemas_are_those_of_the_code() {
        // Asked for at run time: clones may share a target folder.
        let dir = &Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("../../schemas");
        let update = std::env::var_os("RASFT_UPDATE_SCHEMAS").is_some_and(|v| v == "1");
        for schema in schema_json() {
            let path = dir.join(format!("{}.json", schema.name));
            if update {
                rasft_fs::create_dir_all(dir).unwrap();
                rasft_fs::write_atomic(&path, schema.json.as_bytes()).unwrap();
            }
            let committed = std::fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(committed, schema.json, "{} differs: RASFT_UPDATE_SCHEMAS=1 rewrites it", path.display());
        }
        let mut names: Vec<_> = schema_json().iter().map(|s| format!("{}.json", s.name)).collect();
        let mut files: Vec<_> =
            std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        files.sort();
        assert_eq!(files, names, "a schema file without a table");
    }

    #[test]
    fn every_column_says_what_it_is() {
        for schema in schema_json() {
            let value: Value = serde_json::from_str(&schema.json).unwrap();
            for column in value["columns"].as_array().unwrap() {
                assert!(!column["about"].as_str().unwrap().is_empty(), "{}: {column}", schema.name);
            }
        }
    }
}
