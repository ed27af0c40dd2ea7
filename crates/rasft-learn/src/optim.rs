//! AdamW in place, and clipping by the global norm.
//!
//! Invariant: moments are f32 and every sum has a fixed order, so the bytes do not depend on the number of threads.
//! Absent on purpose: parameter groups beyond decay or no decay, and gradients of any other type than f32.

use crate::LearnError;
use candle_core::{CpuStorage, InplaceOp1, Layout, Tensor, Var};
use rasft_model::ops::simd::multiversion;
use rasft_model::threads::awake;
use rayon::prelude::*;
use std::sync::{Mutex, PoisonError};

/// Elements reduced or updated by one task; fixed, so that sums do not depend on threads.
const CHUNK: usize = 1 << 16;

/// Hyper-parameters of AdamW.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWParams {
    /// β₁.
    pub beta1: f64,
    /// β₂.
    pub beta2: f64,
    /// ε.
    pub eps: f64,
    /// λ, decoupled.
    pub weight_decay: f64,
    /// λ = 0 for norms and biases.
    pub no_decay_norms: bool,
}

impl AdamWParams {
    /// Refuses parameters out of range.
    ///
    /// # Errors
    /// A β outside [0, 1), an ε that is not above 0, or a negative decay.
    pub fn check(&self) -> Result<(), LearnError> {
        let fail = |name, value, expected| {
            Err(LearnError::Parameter(format!("AdamW's {name} is {value}: expected {expected}")))
        };
        for (name, beta) in [("beta1", self.beta1), ("beta2", self.beta2)] {
            if !(0.0..1.0).contains(&beta) {
                return fail(name, beta, "a number from 0 to below 1");
            }
        }
        if !(self.eps > 0.0 && self.eps.is_finite()) {
            return fail("eps", self.eps, "a number above 0");
        }
        if !(self.weight_decay >= 0.0 && self.weight_decay.is_finite()) {
            return fail("weight decay", self.weight_decay, "a number from 0 on");
        }
        Ok(())
    }
}

/// First and second moments of every parameter, and the number of steps taken.
#[derive(Debug, Clone, PartialEq)]
pub struct AdamW {
    params: AdamWParams,
    /// t.
    pub step: u64,
    /// m per parameter, flattened.
    pub exp_avg: Vec<Vec<f32>>,
    /// v per parameter, flattened.
    pub exp_avg_sq: Vec<Vec<f32>>,
}

impl AdamW {
    /// Zero moments for parameters of these sizes. The system has not yet given memory for them: the first update takes it.
    pub fn new(sizes: &[usize], params: AdamWParams) -> Self {
        let zeros = || sizes.iter().map(|n| vec![0.0; *n]).collect();
        Self { params, step: 0, exp_avg: zeros(), exp_avg_sq: zeros() }
    }

    /// One update of every parameter:
    ///
    /// ```text
    /// θ ← θ·(1 − lr·λ)
    /// m ← β₁·m + (1−β₁)·g,   v ← β₂·v + (1−β₂)·g²
    /// θ ← θ − lr/(1−β₁ᵗ) · m / (√v/√(1−β₂ᵗ) + ε)
    /// ```
    ///
    /// `scale` multiplies every gradient first (clipping).
    ///
    /// # Shapes
    /// One gradient per parameter, flattened, f32.
    ///
    /// # Errors
    /// A parameter is not contiguous f32, or a gradient has another length.
    ///
    /// # Source
    /// Loshchilov & Hutter, "Decoupled Weight Decay Regularization" (2019), algorithm 2; algorithm.md §10.
    pub fn update(
        &mut self,
        parameters: &[(String, Var)],
        grads: &[Vec<f32>],
        scale: f64,
        lr: f64,
    ) -> Result<(), LearnError> {
        let first = self.step == 0;
        self.step += 1;
        let t = i32::try_from(self.step).unwrap_or(i32::MAX);
        let p = self.params;
        let mut each = || {
            for (i, (name, var)) in parameters.iter().enumerate() {
                let decay = if p.no_decay_norms && is_norm_or_bias(name) { 0.0 } else { p.weight_decay };
                let update = Update {
                    grad: &grads[i],
                    first,
                    moments: Mutex::new((&mut self.exp_avg[i], &mut self.exp_avg_sq[i])),
                    scale: scale as f32,
                    keep: (1.0 - lr * decay) as f32,
                    beta: (p.beta1 as f32, p.beta2 as f32),
                    // In f64: 1 − 0.999 in f32 would be off by 5e-5 of itself.
                    rest: ((1.0 - p.beta1) as f32, (1.0 - p.beta2) as f32),
                    eps: p.eps as f32,
                    step_size: (lr / (1.0 - p.beta1.powi(t))) as f32,
                    root_correction: (1.0 - p.beta2.powi(t)).sqrt() as f32,
                };
                if var.device().is_cpu() {
                    var.as_tensor().inplace_op1(&update)?;
                } else {
                    let mut values = var.flatten_all()?.to_vec1::<f32>()?;
                    update.all(&mut values)?;
                    var.set(&Tensor::from_vec(values, var.shape(), var.device())?)?;
                }
            }
            Ok(())
        };
        // Copies from and to another device leave the threads nothing to look for.
        if parameters.iter().all(|(_, var)| var.device().is_cpu()) { awake(each) } else { each() }
    }
}

/// Norm weights and biases by their Hugging Face names.
fn is_norm_or_bias(name: &str) -> bool {
    name.ends_with(".bias") || name.ends_with("norm.weight")
}

/// The update of one parameter.
struct Update<'a> {
    grad: &'a [f32],
    /// The moments are zero.
    first: bool,
    moments: Mutex<(&'a mut Vec<f32>, &'a mut Vec<f32>)>,
    scale: f32,
    keep: f32,
    /// β₁, β₂.
    beta: (f32, f32),
    /// 1 − β₁, 1 − β₂.
    rest: (f32, f32),
    eps: f32,
    step_size: f32,
    root_correction: f32,
}

impl InplaceOp1 for Update<'_> {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let (CpuStorage::F32(values), Some((start, end))) = (storage, layout.contiguous_offsets()) else {
            candle_core::bail!("adamw: expected contiguous f32 parameters on the CPU");
        };
        self.all(&mut values[start..end])
    }
}

impl Update<'_> {
    fn all(&self, theta: &mut [f32]) -> candle_core::Result<()> {
        let mut moments = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
        let (m, v) = &mut *moments;
        let n = theta.len();
        if self.grad.len() != n || m.len() != n || v.len() != n {
            candle_core::bail!("adamw: a parameter of {n} elements has a gradient of {}", self.grad.len());
        }
        theta
            .par_chunks_mut(CHUNK)
            .zip(self.grad.par_chunks(CHUNK))
            .zip(m.par_chunks_mut(CHUNK).zip(v.par_chunks_mut(CHUNK)))
            .for_each(|((theta, grad), (m, v))| self.chunk(theta, grad, m, v));
        Ok(())
    }

    fn chunk(&self, theta: &mut [f32], grad: &[f32], m: &mut [f32], v: &mut [f32]) {
        if self.first {
            // Written before they are read: a read of memory that was never written costs the system a page of zeros first
            // and the page itself at the write that follows, with every other thread interrupted in between.
            m.fill(0.0);
            v.fill(0.0);
        }
        step(self, theta, grad, m, v);
    }
}

multiversion! {
    fn step(u: &Update<'_>, theta: &mut [f32], grad: &[f32], m: &mut [f32], v: &mut [f32]) {
        for (((theta, g), m), v) in theta.iter_mut().zip(grad).zip(m).zip(v) {
            let g = g * u.scale;
            *theta *= u.keep;
            *m = u.beta.0 * *m + u.rest.0 * g;
            *v = u.beta.1 * *v + u.rest.1 * g * g;
            *theta -= u.step_size * *m / (v.sqrt() / u.root_correction + u.eps);
        }
    }
}

/// Partial sums that [`global_norm`] keeps per chunk: they let the processor add several numbers at once.
const LANES: usize = 8;

/// `‖g‖₂ = √Σ g²` over all parameters, summed in f64 in fixed order.
///
/// # Shapes
/// One gradient per parameter, flattened, f32.
pub fn global_norm(grads: &[Vec<f32>]) -> f64 {
    let partial = |grad: &Vec<f32>| -> Vec<f64> { grad.par_chunks(CHUNK).map(sum_of_squares).collect() };
    awake(|| grads.iter().flat_map(partial).sum::<f64>()).sqrt()
}

multiversion! {
    fn sum_of_squares(chunk: &[f32]) -> f64 {
        let square = |g: &f32| f64::from(*g) * f64::from(*g);
        let mut lanes = [0.0; LANES];
        let whole = chunk.chunks_exact(LANES);
        let tail: f64 = whole.remainder().iter().map(square).sum();
        for part in whole {
            lanes.iter_mut().zip(part).for_each(|(lane, g)| *lane += square(g));
        }
        lanes.iter().sum::<f64>() + tail
    }
}

/// Factor on the gradients: `min(1, max/(norm + 1e-6))`.
///
/// # Source
/// algorithm.md §10.
pub fn clip_factor(norm: f64, max_norm: f64) -> f64 {
    (max_norm / (norm + 1e-6)).min(1.0)
}
