//! Hill muscles with rigid tendons, after MuJoCo's: activation dynamics and force.

use tch::Tensor;

use super::{DT_S, GeometryState, MUSCLES};
use crate::device::Numerics;

/// Largest active force, N.
pub(crate) const MAX_FORCE_N: [f64; MUSCLES] = [838.0, 1207.0, 1422.0, 1549.0, 414.0, 603.0];
/// Length of the tendon, m.
pub(crate) const TENDON_M: [f64; MUSCLES] = [0.039, 0.066, 0.172, 0.187, 0.204, 0.217];
/// Fibre length at which the active force is largest, m.
pub(crate) const OPTIMAL_M: [f64; MUSCLES] = [0.134, 0.140, 0.092, 0.093, 0.137, 0.127];

/// Time constants of rising and falling activation, s.
pub(crate) const RISE_S: f64 = 0.01;
pub(crate) const FALL_S: f64 = 0.04;
/// Shortest fibre, m.
pub(crate) const MIN_FIBRE_M: f64 = 0.001;
/// Fibre speed that counts as 1, m/s: the same for every muscle (the optimal length does not enter).
pub(crate) const UNIT_SPEED_M_S: f64 = 1.5;
/// Lengths between which a muscle can pull actively, in optimal lengths.
pub(crate) const ACTIVE_FROM: f64 = 0.5;
pub(crate) const ACTIVE_TO: f64 = 1.6;
/// Force factor of a quickly lengthened muscle.
pub(crate) const MAX_SPEED_FACTOR: f64 = 1.2;
/// Scale κ of the passive force. (motornet calls this parameter the slack length.)
pub(crate) const PASSIVE_SCALE: f64 = 1.3;
/// Width of the cubic part of the passive curve, in optimal lengths.
pub(crate) const PASSIVE_WIDTH: f64 = (1.0 + ACTIVE_TO) / 2.0 - 1.0;

/// The two humps of the active length curve: peak, end, weight.
pub(crate) const HUMPS: [(f64, f64, f64); 2] = [(1.0, ACTIVE_TO, 1.0), (0.725, 0.95, 0.15)];

/// The six muscles.
#[derive(Debug)]
pub struct Muscle {
    max_force: Tensor,
    tendon: Tensor,
    optimal: Tensor,
    per_optimal: Tensor,
    humps: Humps,
}

/// Everything the muscle law gives, each `[batch, muscle]`.
#[derive(Debug)]
pub struct MuscleState {
    /// Activation a, 0 to 1.
    pub activation: Tensor,
    /// Fibre length l in optimal lengths.
    pub length: Tensor,
    /// Fibre speed v over 1.5 m/s, positive when lengthening.
    pub velocity: Tensor,
    /// Passive force f_p, active length factor f_l, speed factor f_v, dimensionless.
    pub passive: Tensor,
    pub length_factor: Tensor,
    pub speed_factor: Tensor,
    /// F = Fmax (a f_l f_v + f_p), N.
    pub force: Tensor,
}

impl Muscle {
    pub fn new(numerics: Numerics) -> Self {
        let per_optimal = OPTIMAL_M.map(f64::recip);
        Self {
            max_force: numerics.tensor(&MAX_FORCE_N, &[6]),
            tendon: numerics.tensor(&TENDON_M, &[6]),
            optimal: numerics.tensor(&OPTIMAL_M, &[6]),
            per_optimal: numerics.tensor(&per_optimal, &[6]),
            humps: Humps::new(numerics),
        }
    }

    /// Activation after one step, `[batch, muscle]`.
    ///
    /// ```text
    /// da/dt = (u − a)/τ,   τ = 0.01 s (0.5 + 1.5 a)   if u > a
    ///                      τ = 0.04 s / (0.5 + 1.5 a) otherwise
    /// ```
    ///
    /// explicit Euler, then clipped to [0, 1]. `excitation` is within [0, 1]. At low activation one step is longer
    /// than the time constant and overshoots. Source: Millard et al. (2013), <https://doi.org/10.1115/1.4023390>.
    pub fn activate(&self, activation: &Tensor, excitation: &Tensor) -> Tensor {
        let steps_to_rise = activation * (1.5 * RISE_S / DT_S) + 0.5 * RISE_S / DT_S;
        let rising_gain = steps_to_rise.reciprocal();
        let falling_gain = steps_to_rise * (DT_S * DT_S / (RISE_S * FALL_S));
        let gain = rising_gain.where_self(&excitation.gt_tensor(activation), &falling_gain);
        activation
            .addcmul(&(excitation - activation), &gain)
            .clamp(0.0, 1.0)
    }

    /// The muscle law: force and its factors at an activation and a geometry.
    pub fn state(&self, activation: Tensor, geometry: &GeometryState) -> MuscleState {
        let length = (&geometry.length - &self.tendon).clamp_min(MIN_FIBRE_M) * &self.per_optimal;
        let velocity = &geometry.velocity * (1.0 / UNIT_SPEED_M_S);
        let passive = passive_force(&length);
        let length_factor = self.humps.length_factor(&length);
        let speed_factor = speed_factor(&velocity);
        let force = passive.addcmul(&(&activation * &length_factor), &speed_factor) * &self.max_force;
        MuscleState {
            activation,
            length,
            velocity,
            passive,
            length_factor,
            speed_factor,
            force,
        }
    }

    /// Rows activation, fibre length (m), fibre speed (m/s), passive force, length factor, speed factor, force
    /// (N): `[batch, 7, muscle]`, as motornet lays it out.
    pub fn table(&self, state: &MuscleState) -> Tensor {
        let rows = [
            state.activation.shallow_clone(),
            &state.length * &self.optimal,
            &state.velocity * UNIT_SPEED_M_S,
            state.passive.shallow_clone(),
            state.length_factor.shallow_clone(),
            state.speed_factor.shallow_clone(),
            state.force.shallow_clone(),
        ];
        Tensor::stack(&rows, 1)
    }
}

/// Passive force: with t = (l − 1)/0.3, 0 up to t = 0, (κ/4) t³ up to t = 1, then straight on, (κ/4) (3 t − 2).
fn passive_force(length: &Tensor) -> Tensor {
    let stretch = (length - 1.0) * (1.0 / PASSIVE_WIDTH);
    let cubic = stretch.clamp(0.0, 1.0).pow_tensor_scalar(3);
    let straight = (stretch - 1.0).relu() * 3.0;
    (cubic + straight) * (PASSIVE_SCALE / 4.0)
}

/// Speed factor: 0 up to v = −1, (1 + v)² up to 0, then 1.2 − (c − v)²/c with c = 0.2, and 1.2 beyond v = c.
fn speed_factor(velocity: &Tensor) -> Tensor {
    const C: f64 = MAX_SPEED_FACTOR - 1.0;
    let shortening = (velocity + 1.0).clamp(0.0, 1.0).square();
    // `relu`, unlike `clamp`, has slope 0 at v = 0, where the other branch already counts.
    let lengthening = velocity.relu().clamp_max(C);
    let gain = &lengthening * (-1.0 / C) + 2.0;
    shortening.addcmul(&lengthening, &gain)
}

/// Active length factor: f_l = hump(l; 1, 1.6) + 0.15 hump(l; 0.725, 0.95).
///
/// A hump rises from 0.5 to its peak and falls to its end, each way with the smooth step S over y in [0, 1]:
///
/// ```text
/// S(y) = 2 y²               y < ½
///        1 − 2 (1 − y)²     otherwise     =  2 y² − 4 max(y − ½, 0)²
/// ```
///
/// where y is the part of the way up less the part of the way down.
///
/// All ways of all muscles go through products with constant matrices: fewer operations for autograd to record.
#[derive(Debug)]
struct Humps {
    /// `[muscle, way × muscle]` and `[way × muscle]`: for each of the four ways, up and down either hump, the
    /// affine function of l that goes from 0 to 1 along it.
    along: Tensor,
    along_offset: Tensor,
    /// `[way × muscle, hump × muscle]`: up less down.
    y: Tensor,
    /// `[hump × muscle, muscle]`: the coefficients of y² and of max(y − ½, 0)² times the humps' weights.
    square: Tensor,
    upper_square: Tensor,
}

impl Humps {
    fn new(numerics: Numerics) -> Self {
        let each_muscle = Tensor::eye(MUSCLES as i64, (numerics.kind(), numerics.device()));
        let blocks = |values: &[f64], shape: &[i64]| numerics.tensor(values, shape).kron(&each_muscle);
        let ways = HUMPS.map(|(peak, end, _)| [(ACTIVE_FROM, peak), (peak, end)]);
        let ways = ways.as_flattened();
        let slopes: Vec<f64> = ways.iter().map(|(from, to)| 1.0 / (to - from)).collect();
        let offsets: Vec<f64> = ways
            .iter()
            .flat_map(|(from, to)| [-from / (to - from); MUSCLES])
            .collect();
        let weights = HUMPS.map(|(_, _, weight)| weight);
        Self {
            along: blocks(&slopes, &[1, 4]),
            along_offset: numerics.tensor(&offsets, &[24]),
            y: blocks(&[1.0, 0.0, -1.0, 0.0, 0.0, 1.0, 0.0, -1.0], &[4, 2]),
            square: blocks(&weights.map(|weight| 2.0 * weight), &[2, 1]),
            upper_square: blocks(&weights.map(|weight| -4.0 * weight), &[2, 1]),
        }
    }

    fn length_factor(&self, length: &Tensor) -> Tensor {
        let y = self
            .along_offset
            .addmm(length, &self.along)
            .clamp(0.0, 1.0)
            .mm(&self.y);
        let upper_half = (&y - 0.5).relu();
        y.square()
            .mm(&self.square)
            .addmm(&upper_half.square(), &self.upper_square)
    }
}
