//! `adapter_config.json` and `adapter_model.safetensors`, as PEFT reads and writes them.

use std::path::{Path, PathBuf};

use candle_core::{Device, Var};
use serde_json::{Map, Value, json};

use super::{LoraConfig, MODULES, lora_shapes};
use crate::config::{DecoderConfig, read_json};
use crate::error::ModelError;
use crate::weights::{self, WeightsDtype};

/// Describes the adapter.
pub const ADAPTER_CONFIG: &str = "adapter_config.json";
/// Holds its matrices.
pub const ADAPTER_WEIGHTS: &str = "adapter_model.safetensors";

/// Fields that change what an adapter computes in ways this crate does not follow, with the values that switch them off.
const UNSUPPORTED: [&str; 18] = [
    "use_dora",
    "fan_in_fan_out",
    "lora_bias",
    "use_qalora",
    "use_bdlora",
    "arrow_config",
    "kasa_config",
    "velora_config",
    "monteclora_config",
    "rank_pattern",
    "alpha_pattern",
    "modules_to_save",
    "layers_to_transform",
    "layer_replication",
    "exclude_modules",
    "trainable_token_indices",
    "target_parameters",
    "alora_invocation_tokens",
];

/// An adapter directory, read but for its matrices.
#[derive(Debug, Clone)]
pub struct Adapter {
    /// The directory.
    pub path: PathBuf,
    /// Shape and strength.
    pub lora: LoraConfig,
    /// Where its author found the base model.
    pub base: Option<String>,
}

impl Adapter {
    /// Whether `dir` is an adapter and not a whole model.
    #[must_use]
    pub fn is_at(dir: &Path) -> bool {
        dir.join(ADAPTER_CONFIG).is_file()
            && !["model.safetensors", "model.safetensors.index.json"].iter().any(|name| dir.join(name).is_file())
    }

    /// Reads `adapter_config.json`.
    ///
    /// # Errors
    /// The file is absent or no LoRA configuration, or it asks for something this crate does not do.
    pub fn open(dir: &Path) -> Result<Self, ModelError> {
        let path = dir.join(ADAPTER_CONFIG);
        let json = read_json(&path)?;
        let unsupported =
            |field: &str, expected: &str| ModelError::unsupported(&path, field, &json[field], expected, SUPPORTED);
        if json["peft_type"] != "LORA" {
            return Err(unsupported("peft_type", "\"LORA\""));
        }
        if let Some(field) = UNSUPPORTED.iter().find(|field| !is_off(&json[**field])) {
            return Err(unsupported(field, "none"));
        }
        if !(is_off(&json["bias"]) || json["bias"] == "none") {
            return Err(unsupported("bias", "\"none\""));
        }
        if !keeps_the_base(&json["init_lora_weights"]) {
            let hint = "an adapter that began this way belongs to changed base weights, which the base model's files do not hold: merge it into its base first";
            let expected = "true, false, \"gaussian\", \"eva\" or \"orthogonal\"";
            return Err(ModelError::unsupported(
                &path,
                "init_lora_weights",
                &json["init_lora_weights"],
                expected,
                hint,
            ));
        }
        let number = |field: &str| json[field].as_f64().ok_or_else(|| unsupported(field, "a number"));
        let lora = LoraConfig {
            rank: json["r"].as_u64().ok_or_else(|| unsupported("r", "a whole number"))? as usize,
            alpha: number("lora_alpha")?,
            dropout: json["lora_dropout"].as_f64().unwrap_or(0.0),
            targets: targets(&json["target_modules"])
                .ok_or_else(|| unsupported("target_modules", "a list of modules"))?,
            rank_stabilised: json["use_rslora"].as_bool().unwrap_or(false),
        };
        let lora = lora.checked().map_err(|e| ModelError::bad_file(&path, e, SUPPORTED))?;
        let base = json["base_model_name_or_path"].as_str().filter(|s| !s.is_empty()).map(str::to_owned);
        if !dir.join(ADAPTER_WEIGHTS).is_file() {
            let hint = "save the adapter with safe_serialization=True";
            return Err(ModelError::bad_file(dir, format!("has no {ADAPTER_WEIGHTS}"), hint));
        }
        Ok(Self { path: dir.to_owned(), lora, base })
    }

    /// Reads the matrices as f32, in the order of the forward pass.
    ///
    /// # Errors
    /// A matrix is missing, unexpected, misshapen or not finite, or the file is truncated.
    pub fn load(&self, config: &DecoderConfig, device: &Device) -> Result<Vec<(String, Var)>, ModelError> {
        weights::load_file(&self.path.join(ADAPTER_WEIGHTS), lora_shapes(config, &self.lora), device)
    }
}

const SUPPORTED: &str =
    "plain LoRA on the projections of attention and MLP is supported: merge others into their base first";

/// Absent, null, false, empty: PEFT's ways to say no.
fn is_off(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

/// Whether this initialisation left the base model's weights as its files hold them; pissa, olora, corda, loftq, lora_ga and
/// whatever comes next subtract something from them.
fn keeps_the_base(init: &Value) -> bool {
    match init {
        Value::Null | Value::Bool(_) => true,
        Value::String(how) => ["gaussian", "eva", "orthogonal"].contains(&how.as_str()),
        _ => false,
    }
}

fn targets(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(word) if word == "all-linear" => Some(MODULES.map(str::to_owned).to_vec()),
        Value::Array(names) => names.iter().map(|name| name.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

/// Writes both files into `dir`, each whole or not at all; the bytes depend on the values alone.
///
/// `base` is what PEFT's `AutoPeftModel` would look for; a path would make the bytes depend on the machine.
///
/// # Errors
/// A file cannot be written.
pub(crate) fn save(
    dir: &Path,
    lora: &LoraConfig,
    parameters: &[(String, Var)],
    base: Option<&str>,
    dtype: WeightsDtype,
) -> Result<(), ModelError> {
    let number = |x: f64| if x.fract() == 0.0 { json!(x as i64) } else { json!(x) };
    let fields = [
        ("base_model_name_or_path", json!(base)),
        ("bias", json!("none")),
        ("fan_in_fan_out", json!(false)),
        ("inference_mode", json!(true)),
        ("init_lora_weights", json!(true)),
        ("lora_alpha", number(lora.alpha)),
        ("lora_dropout", json!(lora.dropout)),
        ("modules_to_save", Value::Null),
        ("peft_type", json!("LORA")),
        ("r", json!(lora.rank)),
        ("target_modules", json!(lora.targets)),
        ("task_type", json!("CAUSAL_LM")),
        ("use_rslora", json!(lora.rank_stabilised)),
    ];
    let fields: Map<String, Value> = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    rasft_fs::write_atomic(&dir.join(ADAPTER_CONFIG), format!("{:#}\n", Value::Object(fields)).as_bytes())?;
    weights::save(parameters, &dir.join(ADAPTER_WEIGHTS), dtype)
}
