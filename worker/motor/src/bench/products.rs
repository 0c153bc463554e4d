//! The floor under a training batch: its matrix products alone, by libtorch.

use std::time::Instant;

use serde::Serialize;
use tch::{Kind, Tensor};

use super::median_ms;
use crate::arm::MUSCLES;
use crate::device::{Device, Numerics, Precision, set_intra_op_threads};
use crate::environment::OBSERVATIONS;
use crate::error::Error;

/// Medians over the repetitions.
#[derive(Clone, Debug, Serialize)]
pub struct ProductsReport {
    pub hidden: usize,
    pub batch: usize,
    pub steps: usize,
    pub threads: usize,
    pub n: usize,
    /// Floating point operations of a batch's products, in 10⁹: into the units, back to them, and for the weights'
    /// slopes.
    pub gflop: f64,
    /// The products of a batch as a call for each step, and one for the slopes.
    pub calls_ms: f64,
    /// What they would take at the rate of one large product: the floor.
    pub floor_ms: f64,
    /// Rate of that large product, in 10⁹ operations a second.
    pub gflop_per_s: f64,
}

/// Times the products of a training batch of a leaky network.
///
/// # Errors
/// [`Error::Device`].
pub fn products(
    hidden: usize,
    batch: usize,
    steps: usize,
    threads: usize,
    n: usize,
) -> Result<ProductsReport, Error> {
    let numerics = Numerics::new(Precision::F32, Device::Cpu)?;
    set_intra_op_threads(threads);
    let _no_grad = tch::no_grad_guard();
    let random = |rows: usize, columns: usize| {
        Tensor::randn(
            [rows as i64, columns as i64],
            (numerics.kind(), numerics.device()),
        )
    };
    let entering = hidden + OBSERVATIONS.width() as usize;
    let leaving = hidden + MUSCLES;
    let (weights, rows) = (random(entering, hidden), random(batch, entering));
    let (back, all_rows, all_slopes) = (
        random(leaving, hidden),
        random(batch * steps, entering),
        random(batch * steps, hidden),
    );
    let back_rows = random(batch, leaving);
    let (into, onto, sums) = (
        random(batch, hidden),
        random(batch, hidden),
        random(hidden, entering),
    );
    let seconds_of = |work: &mut dyn FnMut()| {
        let begin = Instant::now();
        work();
        begin.elapsed().as_secs_f64()
    };
    let large = random(2048, 2048);
    let product = random(2048, 2048);
    let (mut calls, mut larges) = (Vec::new(), Vec::new());
    for repetition in 0..=n {
        let of_calls = seconds_of(&mut || {
            for _ in 0..steps {
                let _ = rows.mm_out(&into, &weights);
                let _ = back_rows.mm_out(&onto, &back);
            }
            let _ = all_slopes.tr().mm_out(&sums, &all_rows);
        });
        let of_large = seconds_of(&mut || {
            let _ = large.mm_out(&product, &large);
        });
        // The first warms up.
        if repetition > 0 {
            calls.push(of_calls);
            larges.push(of_large);
        }
    }
    // What was computed is looked at, so that it is computed.
    let checksum = [&into, &onto, &sums, &product].map(|tensor| tensor.sum(Kind::Double).double_value(&[]));
    debug_assert!(checksum.iter().all(|sum| sum.is_finite()));
    let operations = |m: usize, k: usize, n: usize| 2.0 * (m * k * n) as f64;
    let gflop = 1e-9
        * (operations(batch * steps, entering, hidden)
            + operations(batch * steps, leaving, hidden)
            + operations(hidden, batch * steps, entering));
    let gflop_per_s = 1e-9 * operations(2048, 2048, 2048) / (1e-3 * median_ms(larges));
    Ok(ProductsReport {
        hidden,
        batch,
        steps,
        threads,
        n,
        gflop,
        calls_ms: median_ms(calls),
        floor_ms: 1e3 * gflop / gflop_per_s,
        gflop_per_s,
    })
}
