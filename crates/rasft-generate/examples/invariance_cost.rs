//! What batch invariance costs: all matrix products of one decoding step of SmolLM2-135M (64 samples), through the
//! invariant kernel on packed weights and through the `gemm` crate, which is free to choose its order of summation, on
//! weights transposed beforehand, which is the layout it is fastest with. In alternation; the fastest of all repetitions,
//! because both sides do the same work every time and only the machine's other users differ.
//!
//! `cargo run -p rasft-generate --example invariance_cost -- [ROWS] [REPETITIONS]`

use candle_core::{Device, Tensor};
use rasft_model::ops::{PackedWeight, linear_packed};
use std::time::Instant;

/// (K, N, how often in a step).
const PRODUCTS: [(usize, usize, usize); 5] =
    [(576, 960, 30), (576, 576, 30), (576, 3072, 30), (1536, 576, 30), (576, 49_152, 1)];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let mut number = |default: usize| args.next().map_or(Ok(default), |n| n.parse::<usize>());
    let (rows, repetitions) = (number(64)?, number(41)?);
    let (mut ours, mut free, mut flops) = (0.0, 0.0, 0.0);
    println!("products of one step, {rows} rows: µs ours, µs gemm crate, ratio");
    for (k, n, times) in PRODUCTS {
        let x = Tensor::randn(0f32, 1.0, (rows, k), &Device::Cpu)?;
        let w = Tensor::randn(0f32, 0.02, (n, k), &Device::Cpu)?;
        let (packed, transposed) = (PackedWeight::new(&[&w])?, w.t()?.contiguous()?);
        let mut seconds = [Vec::new(), Vec::new()];
        for _ in 0..repetitions {
            let start = Instant::now();
            std::hint::black_box(linear_packed(&x, &packed, None)?);
            seconds[0].push(start.elapsed().as_secs_f64());
            let start = Instant::now();
            std::hint::black_box(x.matmul(&transposed)?);
            seconds[1].push(start.elapsed().as_secs_f64());
        }
        let [a, b] = seconds.map(|all| all.into_iter().fold(f64::INFINITY, f64::min));
        println!("  K {k:>5} N {n:>6}: {:8.0} {:8.0} {:6.2}", a * 1e6, b * 1e6, a / b);
        ours += a * times as f64;
        free += b * times as f64;
        flops += (2 * rows * k * n * times) as f64;
    }
    println!(
        "one step: {:.2} ms ours ({:.0} GFLOP/s), {:.2} ms gemm crate",
        ours * 1e3,
        flops / ours * 1e-9,
        free * 1e3
    );
    println!("cost of batch invariance: {:+.1} %", 100.0 * (ours / free - 1.0));
    Ok(())
}
