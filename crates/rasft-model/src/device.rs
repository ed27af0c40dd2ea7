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
    let built_in = match kind {
        "cpu" if name == "cpu" => return Ok(Device::Cpu),
        "cuda" => cfg!(feature = "cuda"),
        "metal" => cfg!(feature = "metal"),
        _ => return Err(wrong()),
    };
    if !built_in {
        let detail = format!(
            "device {name}: this program was built without the feature {kind}\n  hint: use --device cpu, or build with `cargo build --features {kind}`"
        );
        return Err(ModelError::Request(detail));
    }
    let device = if kind == "cuda" { Device::new_cuda(index) } else { Device::new_metal(index) };
    device.map_err(|e| {
        ModelError::Request(format!("device {name}: {e}\n  hint: is there such a device? --device cpu always works"))
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
        if !cfg!(feature = "cuda") {
            assert!(parse("cuda:0").unwrap_err().to_string().contains("without the feature cuda"));
        }
    }
}
