//! Rotary frequencies and how they are stretched.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::ModelError;

/// How rotary frequencies are stretched for long contexts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "rope_type", rename_all = "snake_case")]
pub enum RopeScaling {
    /// Llama 3.1's piecewise rule: low frequencies are divided by `factor`, high ones kept, those between interpolated.
    Llama3 {
        /// Divisor of the low frequencies.
        factor: f64,
        /// Wavelengths above `original_max_position_embeddings / low_freq_factor` are low frequencies.
        low_freq_factor: f64,
        /// Wavelengths below `original_max_position_embeddings / high_freq_factor` are high frequencies.
        high_freq_factor: f64,
        /// Context length before stretching.
        original_max_position_embeddings: usize,
    },
}

/// Rotary position embedding.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RopeConfig {
    /// Base θ of the frequencies θ^(−2i/d).
    pub theta: f64,
    /// Stretching, if any.
    pub scaling: Option<RopeScaling>,
}

impl RopeConfig {
    /// Inverse frequencies `f_i = θ^(−2i/d)` for i in 0..d/2, stretched by the scaling rule; f64 so that tables are exact.
    ///
    /// Llama 3 rule, with wavelength λ = 2π/f and L the original context: λ > L/low → f/factor; λ < L/high → f;
    /// otherwise (1−s)·f/factor + s·f with s = (L/λ − low)/(high − low).
    ///
    /// # Shapes
    /// Returns d/2 values, radians per position.
    ///
    /// # Source
    /// RoFormer (arXiv 2104.09864) §3.4; Llama 3.1 model card for the scaling.
    #[must_use]
    pub fn inverse_frequencies(&self, head_dim: usize) -> Vec<f64> {
        let plain = (0..head_dim / 2).map(|i| self.theta.powf(-2.0 * i as f64 / head_dim as f64));
        match self.scaling {
            None => plain.collect(),
            Some(RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings,
            }) => {
                let context = original_max_position_embeddings as f64;
                let stretch = |f: f64| {
                    let wavelength = 2.0 * std::f64::consts::PI / f;
                    if wavelength > context / low_freq_factor {
                        f / factor
                    } else if wavelength < context / high_freq_factor {
                        f
                    } else {
                        let s = (context / wavelength - low_freq_factor) / (high_freq_factor - low_freq_factor);
                        (1.0 - s) * f / factor + s * f
                    }
                };
                plain.map(stretch).collect()
            }
        }
    }
}

/// `rope_theta` with `rope_scaling` (transformers 4), or `rope_parameters` (transformers 5).
pub(super) fn read(json: &Value, path: &Path) -> Result<RopeConfig, ModelError> {
    let pick = |key: &str| json.get(key).filter(|v| v.is_object());
    let block = pick("rope_parameters").or_else(|| pick("rope_scaling"));
    let theta = block.and_then(|b| b.get("rope_theta")).or_else(|| json.get("rope_theta"));
    let theta = theta.and_then(Value::as_f64).unwrap_or(10_000.0);
    let Some(block) = block else { return Ok(RopeConfig { theta, scaling: None }) };
    let kind = block.get("rope_type").or_else(|| block.get("type")).and_then(Value::as_str).unwrap_or("default");
    match kind {
        "default" => Ok(RopeConfig { theta, scaling: None }),
        "llama3" => {
            let number = |key: &str| {
                block.get(key).and_then(Value::as_f64).filter(|x| *x > 0.0).ok_or_else(|| {
                    ModelError::bad_file(
                        path,
                        format!("rope_scaling.{key} is missing or not positive"),
                        "mend config.json",
                    )
                })
            };
            let scaling = RopeScaling::Llama3 {
                factor: number("factor")?,
                low_freq_factor: number("low_freq_factor")?,
                high_freq_factor: number("high_freq_factor")?,
                original_max_position_embeddings: number("original_max_position_embeddings")? as usize,
            };
            Ok(RopeConfig { theta, scaling: Some(scaling) })
        }
        other => {
            let hint = "dynamic, yarn and longrope scaling are not implemented";
            Err(ModelError::unsupported(path, "rope_scaling.rope_type", other, "default, llama3", hint))
        }
    }
}
