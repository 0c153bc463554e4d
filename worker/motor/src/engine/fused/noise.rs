//! Noise for some rows of an episode, from the same counters as everywhere.

use std::ops::Range;

use crate::engine::NoiseSource;
use crate::random::{Purpose, Stream};

impl NoiseSource {
    /// Unit normal draws of a step for some of the episode's rows, `[rows, width]`.
    pub(super) fn fill(
        &self,
        purpose: Purpose,
        step: usize,
        rows: Range<usize>,
        width: usize,
        draws: &mut Vec<f32>,
    ) {
        draws.resize(rows.len() * width, 0.0);
        let stream = Stream {
            seed: self.seed,
            purpose,
            batch: self.batch,
            step: step as u32,
        };
        // Rows of the episode at which each stretch begins.
        let mut begin = 0;
        for stretch in &self.rows {
            let end = begin + stretch.len();
            let (from, to) = (rows.start.max(begin), rows.end.min(end));
            if from < to {
                let number = stretch.start + from - begin;
                let draws = &mut draws[(from - rows.start) * width..(to - rows.start) * width];
                stream.fill_normal((number * width) as u32, draws);
            }
            begin = end;
        }
    }
}
