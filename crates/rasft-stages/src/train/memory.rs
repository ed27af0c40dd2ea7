//! Refuses a run that cannot fit into memory before it has begun, and says which flag helps.

use crate::Error;
use rasft_learn::{Activations, MemoryNeed, Passes};
use sysinfo::System;

/// Memory that this process may still take: the machine's, or its container's if that is less.
pub(super) fn available() -> u64 {
    let mut system = System::new();
    system.refresh_memory();
    let container = system.cgroup_limits().map_or(u64::MAX, |limits| limits.free_memory);
    system.available_memory().min(container)
}

/// Compares a lower bound of what a run takes with what there is; `available` is 0 where nobody knows.
pub(super) fn check(need: &MemoryNeed, available: u64, passes: Passes) -> Result<(), Error> {
    if available == 0 || need.total() <= available {
        return Ok(());
    }
    let gb = |bytes: u64| bytes as f64 / 1e9;
    let fixed = need.total() - need.activations;
    let hint = match (fixed <= available, passes) {
        (true, Passes::Full(Activations::Kept)) => {
            "--gradient-checkpointing keeps a fraction of the activations; or lower --micro-batch-tokens (or --micro-batch-size)"
        }
        (true, _) => {
            "lower --micro-batch-tokens (or --micro-batch-size), or make the mixture with a lower --max-length"
        }
        (false, Passes::Full(_)) => {
            "--lora RANK trains an adapter without gradients and moments of the whole model; or use a smaller model"
        }
        (false, Passes::Adapter) => "use a smaller model",
    };
    Err(Error::usage(format!(
        "this run needs at least {:.1} GB (weights {:.1}, gradients {:.1}, moments {:.1}, activations of {} tokens {:.1}), {:.1} GB are available\nhint: {hint}",
        gb(need.total()),
        gb(need.weights),
        gb(need.gradients),
        gb(need.moments),
        need.tokens,
        gb(need.activations),
        gb(available)
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_that_helps_is_named() {
        let need = MemoryNeed { weights: 4, gradients: 4, moments: 8, activations: 100, tokens: 7 };
        let (kept, recomputed) = (Passes::Full(Activations::Kept), Passes::Full(Activations::Recomputed));
        let refused = |available, passes| check(&need, available, passes).unwrap_err().to_string();
        assert!(refused(50, kept).contains("--gradient-checkpointing"));
        assert!(refused(50, recomputed).contains("hint: lower --micro-batch-tokens"));
        assert!(refused(10, kept).contains("--lora"));
        assert!(refused(10, Passes::Adapter).contains("smaller model"));
        assert!(check(&need, 116, kept).is_ok() && check(&need, 0, kept).is_ok());
    }

    #[test]
    fn this_machine_has_memory() {
        assert!(available() > 1 << 20);
    }
}
