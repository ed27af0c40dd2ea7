//! Names of devices, as users write them: `cpu`, `cuda`, `cuda:1`, `metal`.

use candle_core::Device;

use crate::error::ModelError;

/// The device of that name.
///
/// # Errors
/// The name is unknown, the binary was built without support for it, or the device is not there.
pub fn parse(name: &str) -> Result<Device, ModelError> {
    let (kind, index) = name.split_once(':').unwrap_or((name, "0"));
    let wrong = || ModelError::Request(format!("device {name:?} is not cpu, cuda, cuda:N or metal"));
    let index: usize = index.parse().map_err(|_| wrong())?;
    let device = match kind {
        "cpu" if name == "cpu" => Ok(Device::Cpu),
        "cuda" => Device::new_cuda(index),
        "metal" => Device::new_metal(index),
        _ => return Err(wrong()),
    };
    device.map_err(|e| {
        let detail = format!("device {name}: {e}\n  hint: use --device cpu, or a binary built with the feature {kind}");
        ModelError::Request(detail)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert!(parse("cpu").unwrap().is_cpu());
        for wrong in ["", "gpu", "cpu:1", "cuda:x", "cuda:"] {
            assert!(parse(wrong).unwrap_err().to_string().contains("is not cpu"), "{wrong}");
        }
        if !candle_core::utils::cuda_is_available() {
            assert!(parse("cuda:0").unwrap_err().to_string().contains("hint"));
        }
    }
}
