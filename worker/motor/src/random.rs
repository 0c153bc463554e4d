//! Random numbers as pure functions of (seed, purpose, batch, step, element).
//!
//! Counter-based: Philox4x32-10 (Salmon et al. 2011, <https://doi.org/10.1145/2063384.2063405>). Element i of a
//! stream does not depend on who asks, how much at once, or what was drawn before, so neither threads nor chunks
//! nor a resumed run change any number. Normal draws use polynomials and IEEE operations only (no mathematics
//! library, no fused multiply-add), so their bits are the same on every machine.

use std::f32::consts::LN_2;

/// What numbers are drawn for. Each purpose is a stream of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Purpose {
    Initialisation = 1,
    TaskChoice = 2,
    Speed = 3,
    Delay = 4,
    Directions = 5,
    HiddenNoise = 6,
    InputNoise = 7,
    EvaluationDelay = 8,
    EvaluationHiddenNoise = 9,
    EvaluationInputNoise = 10,
    BackwardDirections = 11,
    NewRules = 12,
}

/// Names one stream of random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    pub seed: u64,
    pub purpose: Purpose,
    pub batch: u64,
    pub step: u32,
}

/// Four words of 32 random bits for a counter and a key.
pub fn philox4x32_10(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let mut counter = counter.map(|word| [word; 1]);
    rounds(&mut counter, key);
    counter.map(|[word]| word)
}

/// Ten rounds on several counters at once, word by word.
#[inline(always)]
fn rounds<const N: usize>(counter: &mut [[u32; N]; 4], mut key: [u32; 2]) {
    const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
    const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
    for round in 0..10 {
        if round > 0 {
            key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
        }
        let [words0, words1, words2, words3] = &mut *counter;
        for (((word0, word1), word2), word3) in words0.iter_mut().zip(words1).zip(words2).zip(words3) {
            let product0 = u64::from(MULTIPLIERS[0]) * u64::from(*word0);
            let product1 = u64::from(MULTIPLIERS[1]) * u64::from(*word2);
            *word0 = (product1 >> 32) as u32 ^ *word1 ^ key[0];
            *word1 = product1 as u32;
            *word2 = (product0 >> 32) as u32 ^ *word3 ^ key[1];
            *word3 = product0 as u32;
        }
    }
}

impl Stream {
    #[inline(always)]
    fn key(&self) -> [u32; 2] {
        [self.seed as u32, (self.seed >> 32) as u32]
    }

    /// The counter of a block of four elements. Batches take 56 bits, purposes 8.
    #[inline(always)]
    fn counter(&self, block: u32) -> [u32; 4] {
        let high = (self.batch >> 32) as u32 & 0x00FF_FFFF;
        [
            block,
            self.step,
            self.batch as u32,
            high | (self.purpose as u32) << 24,
        ]
    }

    /// 32 random bits.
    pub fn bits(&self, element: u32) -> u32 {
        philox4x32_10(self.counter(element / 4), self.key())[element as usize % 4]
    }

    /// Uniform choice among `count` things; the bias is below count/2³².
    pub fn index(&self, element: u32, count: usize) -> usize {
        ((u64::from(self.bits(element)) * count as u64) >> 32) as usize
    }

    /// Uniform in [0, 1), in steps of 2⁻³².
    pub fn uniform(&self, element: u32) -> f64 {
        f64::from(self.bits(element)) / 4_294_967_296.0
    }

    /// Fills `out` with independent standard normal draws: elements `first`, `first + 1`, … of the stream.
    ///
    /// Box and Muller's transformation, in single precision; |z| stays below 6.8.
    pub fn fill_normal(&self, first: u32, out: &mut [f32]) {
        pulp::Arch::new().dispatch(FillNormal {
            stream: self,
            first,
            out,
        });
    }

    #[inline(always)]
    fn fill_normal_here(&self, first: u32, out: &mut [f32]) {
        // The first block may be entered in the middle.
        let skipped = first as usize % 4;
        let (head, rest) = out.split_at_mut(if skipped == 0 {
            0
        } else {
            (4 - skipped).min(out.len())
        });
        let mut block = first / 4;
        if !head.is_empty() {
            let normals = self.normal_blocks::<1>(block);
            for (out, normal) in head.iter_mut().zip(&normals[skipped..]) {
                *out = normal[0];
            }
            block += 1;
        }
        let mut chunks = rest.chunks_exact_mut(4 * LANES);
        for chunk in &mut chunks {
            let normals = self.normal_blocks::<LANES>(block);
            for (lane, quad) in chunk.chunks_exact_mut(4).enumerate() {
                for (out, normal) in quad.iter_mut().zip(&normals) {
                    *out = normal[lane];
                }
            }
            block += LANES as u32;
        }
        for quad in chunks.into_remainder().chunks_mut(4) {
            let normals = self.normal_blocks::<1>(block);
            for (out, normal) in quad.iter_mut().zip(&normals) {
                *out = normal[0];
            }
            block += 1;
        }
    }

    /// Normal draws of `N` consecutive blocks, word by word.
    #[inline(always)]
    fn normal_blocks<const N: usize>(&self, first: u32) -> [[f32; N]; 4] {
        let mut words = self.counter(first).map(|word| [word; N]);
        for (lane, word) in words[0].iter_mut().enumerate() {
            *word = first.wrapping_add(lane as u32);
        }
        rounds(&mut words, self.key());
        let mut normals = [[0.0; N]; 4];
        for pair in [0, 2] {
            for lane in 0..N {
                let radius = (-2.0 * ln(unit_interval(words[pair][lane]))).sqrt();
                let (sin, cos) = sin_cos_of_turn(words[pair + 1][lane]);
                normals[pair][lane] = radius * cos;
                normals[pair + 1][lane] = radius * sin;
            }
        }
        normals
    }
}

/// [`Stream::fill_normal`], compiled for each instruction set. None changes a bit: nothing is contracted.
struct FillNormal<'a> {
    stream: &'a Stream,
    first: u32,
    out: &'a mut [f32],
}

impl pulp::WithSimd for FillNormal<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        self.stream.fill_normal_here(self.first, self.out);
    }
}

/// Blocks that [`Stream::fill_normal`] computes side by side, for the compiler to vectorise.
const LANES: usize = 16;

/// A number in (0, 1] from random bits: (⌊bits/2⌋ + ½) 2⁻³¹.
#[inline(always)]
fn unit_interval(bits: u32) -> f32 {
    const SCALE: f32 = 1.0 / 2_147_483_648.0;
    ((bits >> 1) as i32 as f32 + 0.5) * SCALE
}

/// Natural logarithm of a positive normal number, to about 2 units in the last place (Cephes' `logf`).
#[inline(always)]
fn ln(x: f32) -> f32 {
    // x = m 2ᵉ with m in [√½, √2).
    const SQRT_HALF_BITS: u32 = 0x3F35_04F3;
    let bits = x.to_bits();
    let shifted = bits.wrapping_sub(SQRT_HALF_BITS);
    let exponent = (shifted as i32 >> 23) as f32;
    let f = f32::from_bits((shifted & 0x007F_FFFF) + SQRT_HALF_BITS) - 1.0;
    let mut p = 7.037_683_6e-2;
    for coefficient in [
        -1.151_461e-1,
        1.167_699_84e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_7e-1,
        2.000_071_4e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ] {
        p = p * f + coefficient;
    }
    let square = f * f;
    f + (square * f * p - 0.5 * square) + exponent * LN_2
}

/// Sine and cosine of 2π · bits/2³², to about 1e-7.
#[inline(always)]
fn sin_cos_of_turn(bits: u32) -> (f32, f32) {
    // The nearest quarter turn, and the signed rest of at most an eighth.
    const RADIANS: f32 = std::f32::consts::PI / 2_147_483_648.0;
    let quarter = bits.wrapping_add(1 << 29) >> 30;
    let rest = bits.wrapping_sub(quarter << 30) as i32 as f32 * RADIANS;
    let square = rest * rest;
    let sin = rest + rest * square * (-1.666_665_5e-1 + square * (8.332_161e-3 + square * -1.951_529_6e-4));
    let cos = 1.0 - 0.5 * square
        + square * square * (4.166_664_6e-2 + square * (-1.388_731_6e-3 + square * 2.443_315_7e-5));
    let swapped = quarter & 1 == 1;
    let (s, c) = if swapped { (cos, sin) } else { (sin, cos) };
    let sin_sign = (quarter & 2) << 30;
    let cos_sign = (quarter.wrapping_add(1) & 2) << 30;
    (
        f32::from_bits(s.to_bits() ^ sin_sign),
        f32::from_bits(c.to_bits() ^ cos_sign),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: Stream = Stream {
        seed: 7,
        purpose: Purpose::HiddenNoise,
        batch: 3,
        step: 2,
    };

    fn normals(stream: Stream, first: u32, count: usize) -> Vec<f32> {
        let mut out = vec![0.0; count];
        stream.fill_normal(first, &mut out);
        out
    }

    /// Mean of a power of the draws.
    fn moment(draws: &[f32], power: i32) -> f64 {
        draws.iter().map(|&z| f64::from(z).powi(power)).sum::<f64>() / draws.len() as f64
    }

    #[test]
    fn philox_gives_the_published_answers() {
        // The known-answer vectors of Random123 for philox4x32 with 10 rounds.
        let cases = [
            (
                [0; 4],
                [0; 2],
                [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8],
            ),
            (
                [u32::MAX; 4],
                [u32::MAX; 2],
                [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd],
            ),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, key, answer) in cases {
            assert_eq!(philox4x32_10(counter, key), answer);
        }
    }

    #[test]
    fn a_draw_does_not_depend_on_where_filling_starts_or_ends() {
        let whole = normals(STREAM, 0, 1000);
        for first in [0_usize, 1, 2, 3, 4, 5, 63, 64, 65, 130] {
            for count in [0, 1, 2, 3, 5, 64, 67, 300] {
                assert_eq!(
                    normals(STREAM, first as u32, count),
                    whole[first..first + count],
                    "{first} {count}"
                );
            }
        }
    }

    #[test]
    fn normal_draws_have_the_moments_of_the_normal_distribution() {
        let draws = normals(STREAM, 0, 4_000_000);
        // Standard errors: 5e-4, 7e-4, 1.9e-3, 4.9e-3; five of them are allowed.
        assert!(moment(&draws, 1).abs() < 2.5e-3);
        assert!((moment(&draws, 2) - 1.0).abs() < 3.5e-3);
        assert!(moment(&draws, 3).abs() < 1e-2);
        assert!((moment(&draws, 4) - 3.0).abs() < 2.5e-2);
    }

    #[test]
    fn normal_draws_have_the_tails_of_the_normal_distribution() {
        let draws = normals(STREAM, 0, 4_000_000);
        for (bound, expected) in [
            (1.0, 0.317_310_5),
            (2.0, 0.045_500_3),
            (3.0, 2.699_8e-3),
            (4.0, 6.334e-5),
        ] {
            let beyond = draws.iter().filter(|z| z.abs() > bound).count() as f64;
            let expected = expected * draws.len() as f64;
            assert!(
                (beyond - expected).abs() < 5.0 * expected.sqrt(),
                "beyond {bound}: {beyond}, not {expected}"
            );
        }
        assert!(draws.iter().all(|z| z.is_finite() && z.abs() < 6.8));
    }

    #[test]
    fn the_transformation_agrees_with_the_mathematics_library() {
        for word in
            (0..u32::MAX)
                .step_by(999_983)
                .chain([0, 1, 2, u32::MAX - 1, u32::MAX, 1 << 29, 1 << 30, 1 << 31])
        {
            let u = unit_interval(word);
            assert!(u > 0.0 && u <= 1.0);
            let (exact, own) = (f64::from(u).ln(), f64::from(ln(u)));
            assert!(
                (own - exact).abs() <= 3e-7 * exact.abs() + 1e-9,
                "ln {u}: {own}, not {exact}"
            );
            let (sin, cos) = (std::f64::consts::TAU * f64::from(word) / 4_294_967_296.0).sin_cos();
            let (own_sin, own_cos) = sin_cos_of_turn(word);
            assert!(
                (f64::from(own_sin) - sin).abs() < 2e-7 && (f64::from(own_cos) - cos).abs() < 2e-7,
                "{word}"
            );
        }
    }

    #[test]
    fn streams_that_differ_in_anything_are_independent() {
        let count = 1_000_000;
        let base = normals(STREAM, 0, count);
        let others = [
            Stream { seed: 8, ..STREAM },
            Stream {
                seed: 7 | 1 << 32,
                ..STREAM
            },
            Stream {
                purpose: Purpose::InputNoise,
                ..STREAM
            },
            Stream { batch: 4, ..STREAM },
            Stream {
                batch: 3 | 1 << 32,
                ..STREAM
            },
            Stream { step: 3, ..STREAM },
        ];
        for other in others {
            let draws = normals(other, 0, count);
            let products = base
                .iter()
                .zip(&draws)
                .map(|(&a, &b)| f64::from(a) * f64::from(b));
            let correlation = products.sum::<f64>() / count as f64;
            assert!(correlation.abs() < 5e-3, "{other:?}: {correlation}");
        }
    }

    #[test]
    fn neighbouring_draws_of_a_stream_are_independent() {
        let draws = normals(STREAM, 0, 1_000_000);
        for lag in 1..9 {
            let products = draws
                .iter()
                .zip(&draws[lag..])
                .map(|(&a, &b)| f64::from(a) * f64::from(b));
            let correlation = products.sum::<f64>() / (draws.len() - lag) as f64;
            assert!(correlation.abs() < 5e-3, "lag {lag}: {correlation}");
        }
    }

    #[test]
    fn choices_are_uniform() {
        for count in [1, 3, 8, 10] {
            let mut chosen = vec![0_u32; count];
            for element in 0..100_000 {
                chosen[STREAM.index(element, count)] += 1;
            }
            let expected = 1e5 / count as f64;
            assert!(
                chosen
                    .iter()
                    .all(|&n| (f64::from(n) - expected).abs() < 5.0 * expected.sqrt()),
                "{chosen:?}"
            );
        }
    }
}
