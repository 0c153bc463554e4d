//! What a kernel is told: the twin of `kernels/run.h`, field by field.

/// Memory of a card; 0 is none.
pub type Address = u64;

/// Everything that a kernel needs, passed by value. The fields are explained in `kernels/run.h`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Run {
    pub hidden: i32,
    pub known: i32,
    pub inputs: i32,
    pub activation: i32,
    pub z_stride: i32,
    pub d_stride: i32,
    pub unit_stride: i32,
    pub back_stride: i32,
    pub entering_slices: i32,
    pub back_slices: i32,
    pub has_dynamics: i32,
    pub noisy: i32,
    pub keep: i32,
    pub rows: i32,
    pub steps: i32,
    pub observation: i32,
    pub parameters: i32,
    pub parameter_blocks: i32,

    pub alpha: f64,
    pub hidden_noise: f64,
    pub input_noise: f64,
    pub lower: [f64; 2],
    pub upper: [f64; 2],
    pub position: f64,
    pub rate: f64,
    pub weight: f64,
    pub muscle: f64,
    pub dynamics: f64,
    pub fixed_size: f64,
    pub clip: f64,
    pub step_size: f64,
    pub second_scale: f64,

    pub seed: u64,
    pub batch: u64,
    pub hidden_purpose: u32,
    pub input_purpose: u32,

    pub source: Address,
    pub factor: Address,
    pub place: Address,
    pub parameter_factor: Address,
    pub kind: Address,
    pub share: Address,
    pub parameter: Address,
    pub first: Address,
    pub second: Address,
    pub gradient: Address,

    pub entering: Address,
    pub back: Address,
    pub leaving: Address,
    pub initial_x: Address,

    pub observations: Address,
    pub goals: Address,
    pub numbers: Address,

    pub z: Address,
    pub d: Address,
    pub arms: Address,
    pub excitations: Address,
    pub fingertips: Address,
    pub position_sums: Address,
    pub muscle_sums: Address,

    pub unit_sums: Address,
    pub outer_sums: Address,
    pub parameter_sums: Address,
    pub unit_slopes: Address,
    pub column_slopes: Address,
    pub report: Address,
}
