// The way back of a block's rows: the adjoint of forward.h, step by step from the end. Leaves δ and γ in d.
//
// docs/engine.md derives it line by line, with these names.
#pragma once

/// What a block keeps on chip.
struct BackChip {
    /// `[ROWS, unit_stride]`: δ of the later call; partial sums of its product with [W | U_feedback].
    real *delta, *partial;
    /// Slopes of the arms: of joints `[ROWS, 4]` and what each muscle adds to them `[ROWS, MUSCLES, 4]`; of
    /// activations and forces `[ROWS, MUSCLES]`; of the net torques `[ROWS, 2]`; γ `[ROWS, MUSCLES]`.
    real *joints, *by_muscles, *activation, *force, *net, *gamma;
    int first, count;
};

DEVICE BackChip backward_chip(const Run& run, real* memory) {
    BackChip chip;
    chip.delta = memory;
    chip.partial = chip.delta + ROWS * run.unit_stride;
    chip.joints = chip.partial + run.back_slices * ROWS * run.back_stride;
    chip.by_muscles = chip.joints + ROWS * 4;
    chip.activation = chip.by_muscles + ROWS * MUSCLES * 4;
    chip.force = chip.activation + ROWS * MUSCLES;
    chip.net = chip.force + ROWS * MUSCLES;
    chip.gamma = chip.net + ROWS * 2;
    chip.first = BLOCK * ROWS;
    chip.count = run.rows - chip.first < ROWS ? run.rows - chip.first : ROWS;
    return chip;
}

/// No slopes come from behind the end.
DEVICE void begin_at_end(const Run& run, const BackChip& chip) {
    const size_t end = (size_t)run.steps * run.rows + chip.first;
    EACH(i, ROWS * run.unit_stride) {
        chip.delta[i] = 0;
        const int row = i / run.unit_stride, unit = i % run.unit_stride;
        if (row < chip.count && unit < run.hidden) run.d[(end + row) * run.d_stride + unit] = 0;
    }
    EACH(i, ROWS * 4) chip.joints[i] = 0;
    EACH(i, ROWS * MUSCLES * 4) chip.by_muscles[i] = 0;
    EACH(i, ROWS * MUSCLES) {
        chip.activation[i] = 0;
        chip.force[i] = 0;
        const int row = i / MUSCLES;
        if (row < chip.count) run.d[(size_t)(chip.first + row) * run.d_stride + run.hidden + i % MUSCLES] = 0;
    }
}

/// Slope of what a row sensed after the step, as the next call's δ gives it.
DEVICE real felt(const Run& run, const BackChip& chip, int row, int quantity) {
    return product(chip.partial, run.back_stride, run.back_slices, row, run.hidden + quantity);
}

/// Joints: fingertip, limits, equations of motion.
DEVICE void turn_back(const Run& run, const BackChip& chip, int step, int row) {
    const size_t sample = (size_t)step * run.rows + chip.first + row;
    const real* old = run.arms + sample * ARM_SIZE;
    const size_t later = sample + run.rows;
    const real weight = run.position / samples(run);
    Pair of_tip = {felt(run, chip, row, TIP), felt(run, chip, row, TIP + 1)};
    of_tip.x += sign(run.fingertips[later * 2] - run.goals[later * 2]) * weight;
    of_tip.y += sign(run.fingertips[later * 2 + 1] - run.goals[later * 2 + 1]) * weight;

    real of_new[4];
    for (int q = 0; q < 4; q++) {
        of_new[q] = chip.joints[row * 4 + q];
        for (int m = 0; m < MUSCLES; m++) of_new[q] += chip.by_muscles[(row * MUSCLES + m) * 4 + q];
    }
    Pair net;
    const Joints slopes = {{of_new[0], of_new[1]}, {of_new[2], of_new[3]}};
    const Joints of_old = joints_adjoint(old + ANGLE, old + VELOCITY, old + FORCE, slopes, of_tip, &net);
    for (int j = 0; j < 2; j++) {
        chip.joints[row * 4 + j] = of_old.angle[j];
        chip.joints[row * 4 + 2 + j] = of_old.velocity[j];
    }
    chip.net[row * 2] = net.x;
    chip.net[row * 2 + 1] = net.y;
}

/// A muscle: force, activation, excitation, and what the joints get of it.
DEVICE void pull_back(const Run& run, const BackChip& chip, int step, int row, int muscle) {
    const size_t sample = (size_t)step * run.rows + chip.first + row, later = sample + run.rows;
    const real* old = run.arms + sample * ARM_SIZE;
    const int place = row * MUSCLES + muscle;
    const real excitation = run.excitations[sample * MUSCLES + muscle];
    const real activation = run.arms[later * ARM_SIZE + ACTIVATION + muscle];
    const Fibre at = fibre(muscle, old + ANGLE, old + VELOCITY);
    const MuscleSlopes of = muscle_adjoint(muscle, at, activation, chip.force[place],
                                           felt(run, chip, row, LENGTH + muscle), felt(run, chip, row, SPEED + muscle));
    const real of_new = chip.activation[place] + sign(activation) * real(run.muscle / samples(run)) + of.activation;
    real of_excitation;
    activate_adjoint(old[ACTIVATION + muscle], excitation, of_new, &chip.activation[place], &of_excitation);

    // Torque: τⱼ = −Σ F Rⱼ.
    real of_force = 0;
    for (int j = 0; j < 2; j++) {
        const real net = chip.net[row * 2 + j], arm = moment_arm(muscle, j, old[ANGLE + j]);
        const real of_arm = of.velocity * old[VELOCITY + j] - net * old[FORCE + muscle];
        of_force -= net * arm;
        chip.by_muscles[place * 4 + j] = of.length * arm + of_arm * TWICE_QUADRATIC_M[j][muscle];
        chip.by_muscles[place * 4 + 2 + j] = of.velocity * arm;
    }
    chip.force[place] = of_force;
    const real gamma = of_excitation * (excitation - excitation * excitation);
    chip.gamma[place] = gamma;
    run.d[later * run.d_stride + run.hidden + muscle] = gamma;
}

/// δ of the step.
DEVICE void retreat_units(const Run& run, const BackChip& chip, int step) {
    const real alpha = run.alpha, kept = (1 - run.alpha) / run.alpha;
    const real rate = run.rate / (samples(run) * run.hidden);
    EACH(i, chip.count * run.hidden) {
        const int row = i / run.hidden, unit = i % run.hidden;
        const size_t sample = (size_t)step * run.rows + chip.first + row;
        const real x = run.d[sample * run.d_stride + unit];
        const real h = run.z[(sample + run.rows) * run.z_stride + unit];
        real slope, bend;
        fire_slopes(run.activation, x, h, &slope, &bend);
        real of_h = product(chip.partial, run.back_stride, run.back_slices, row, unit);
        for (int m = 0; m < MUSCLES; m++)
            of_h += chip.gamma[row * MUSCLES + m] * run.leaving[m * (run.hidden + 1) + unit];
        of_h += sign(h) * rate;
        if (run.has_dynamics) of_h += run.unit_slopes[unit] * bend;
        const int place = row * run.unit_stride + unit;
        const real delta = (of_h * slope + chip.delta[place] * kept) * alpha;
        chip.delta[place] = delta;
        run.d[sample * run.d_stride + unit] = delta;
    }
}

KERNEL(backward) {
    SHARED_MEMORY(memory);
    const BackChip chip = backward_chip(run, memory);
    begin_at_end(run, chip);
    SYNC();
    for (int step = run.steps - 1; step >= 0; step--) {
        multiply(chip.delta, run.unit_stride, run.back, run.back_stride, run.unit_stride, run.back_slices, chip.partial);
        SYNC();
        EACH(row, chip.count) turn_back(run, chip, step, row);
        SYNC();
        EACH(i, chip.count * MUSCLES) pull_back(run, chip, step, i / MUSCLES, i % MUSCLES);
        SYNC();
        retreat_units(run, chip, step);
        SYNC();
    }
}
