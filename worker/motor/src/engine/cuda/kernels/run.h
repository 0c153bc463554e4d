// What every kernel is told, by value. `run.rs` has the same fields in the same order.
#pragma once

struct Run {
    // The network. Strides are lengths of rows with padding, multiples of 4.
    int hidden, known, inputs, activation;
    /// Of z = [h | inputs | 1], of d = [δ | γ], of rows of units, and of rows of [W | U_feedback].
    int z_stride, d_stride, unit_stride, back_stride;
    /// Shares of the inner dimension that a product's threads take.
    int entering_slices, back_slices;
    /// Whether the losses ask for the slopes of units; whether inputs and units are noisy; whether the way back
    /// will follow.
    int has_dynamics, noisy, keep;
    /// The episode: rows, steps, and numbers that an observation has.
    int rows, steps, observation;
    /// Trained parameters, and workgroups of them.
    int parameters, parameter_blocks;

    /// α, scales of the noise.
    double alpha, hidden_noise, input_noise;
    /// Bounds of the magnitudes of constrained weights: recurrent, input.
    double lower[2], upper[2];
    /// Weights of the losses; what the fixed parameters add to the weights' own size.
    double position, rate, weight, muscle, dynamics, fixed_size;
    /// Largest norm of the gradients (infinite: none); Adam's η/(1 − β₁ᵗ) and 1/√(1 − β₂ᵗ).
    double clip, step_size, second_scale;

    uint64_t seed, batch;
    uint32_t hidden_purpose, input_purpose;

    // What the parameters make up: for every entry of A = [W | U | b], then of [V | c], the parameter that it comes
    // from (or −1) and its factor.
    const int* source;
    const real* factor;
    // For every parameter: where its slope stands in Σ dᵀz (or −1), its factor, what bounds it (0 nothing,
    // 1 recurrent, 2 input), and 1 over the size of its tensor.
    const int* place;
    const real* parameter_factor;
    const int* kind;
    const real* share;
    real *parameter, *first, *second, *gradient;

    // Matrices as they act: [W | U | b]ᵀ, [W | U_feedback], [V | c] row by row; x at the start.
    real *entering, *back, *leaving;
    const real* initial_x;

    // The episode: what is known `[T + 1, rows, observation]`, goals `[T + 1, rows, 2]`, the rows' numbers.
    const real *observations, *goals;
    const uint32_t* numbers;

    // Sequences, time first: z and d `[T + 1, rows, stride]`, arms `[T + 1, rows, 16]`, excitations
    // `[T, rows, 6]`, fingertips `[T + 1, rows, 2]`.
    real *z, *d, *arms, *excitations, *fingertips;
    // Sums over a row's time: position errors, activations.
    real *position_sums, *muscle_sums;

    // Sums over parts of the samples: of |h| and of slopes `[part, 2, hidden]`; Σ dᵀz `[part, hidden + 6, z_stride]`;
    // of squares of gradients and of sizes of parameters `[parameter block, 2]`.
    real *unit_sums, *outer_sums;
    double* parameter_sums;
    // Slopes of the dynamics loss: of each unit's slope, and the factor of W's columns.
    real *unit_slopes, *column_slopes;
    /// What the host reads: `report.rs` names the places.
    double* report;
};

/// Trials × instants.
DEVICE double samples(const Run& run) { return (double)run.rows * (run.steps + 1); }
