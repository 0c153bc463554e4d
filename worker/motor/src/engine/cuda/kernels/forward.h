// An episode of a block's rows, from start to end.
//
// A block owns ROWS rows and keeps x, z and the arms on chip through all steps; the matrices are read again at
// every step, from the cache that all blocks share. What the way back needs is written out once. Rows never meet.
#pragma once

/// Parts that a dot product for an output is shared out in.
enum { PARTS = 8 };

/// What a block keeps on chip.
struct Chip {
    /// `[ROWS, z_stride]`; `[ROWS, unit_stride]` of x and of the units' noise; the product's partial sums.
    real *z, *x, *noise, *partial;
    /// `[ROWS, MUSCLES, PARTS]`; two states of each arm, `[ROWS, ARM_SIZE]`; `[ROWS]` and `[ROWS, MUSCLES]`.
    real *outputs, *arms[2], *position_sums, *muscle_sums;
    /// The first row of the episode that the block has, and how many.
    int first, count;
};

DEVICE Chip forward_chip(const Run& run, real* memory) {
    Chip chip;
    chip.z = memory;
    chip.partial = chip.z + ROWS * run.z_stride;
    chip.x = chip.partial + run.entering_slices * ROWS * run.unit_stride;
    chip.noise = chip.x + ROWS * run.unit_stride;
    chip.outputs = chip.noise + ROWS * run.unit_stride;
    chip.arms[0] = chip.outputs + ROWS * MUSCLES * PARTS;
    chip.arms[1] = chip.arms[0] + ROWS * ARM_SIZE;
    chip.position_sums = chip.arms[1] + ROWS * ARM_SIZE;
    chip.muscle_sums = chip.position_sums + ROWS;
    chip.first = BLOCK * ROWS;
    chip.count = run.rows - chip.first < ROWS ? run.rows - chip.first : ROWS;
    return chip;
}

/// |Δx| + |Δy| between a fingertip and the goal of a row at an instant.
DEVICE real distance(const Run& run, int instant, int row, Pair tip) {
    const real* goal = run.goals + ((size_t)instant * run.rows + row) * 2;
    return magnitude(tip.x - goal[0]) + magnitude(tip.y - goal[1]);
}

/// Writes a fingertip out.
DEVICE void note_tip(const Run& run, int instant, int row, Pair tip) {
    real* place = run.fingertips + ((size_t)instant * run.rows + row) * 2;
    place[0] = tip.x;
    place[1] = tip.y;
}

/// h = 0, the 1 and the padding in z; x and the arms as they begin.
DEVICE void begin(const Run& run, const Chip& chip) {
    EACH(i, ROWS * run.z_stride) {
        const int place = i % run.z_stride;
        if (place < run.hidden || place >= run.hidden + run.inputs)
            chip.z[i] = place == run.hidden + run.inputs ? 1 : 0;
    }
    EACH(i, ROWS * run.unit_stride) {
        chip.x[i] = i % run.unit_stride < run.hidden ? run.initial_x[i % run.unit_stride] : 0;
        chip.noise[i] = 0;
    }
    EACH(row, ROWS) {
        real sensed[SENSED];
        real* state = chip.arms[0] + row * ARM_SIZE;
        start_arm(state, sensed);
        chip.position_sums[row] = 0;
        for (int m = 0; m < MUSCLES; m++) chip.muscle_sums[row * MUSCLES + m] = 0;
        if (row < chip.count) {
            const Pair tip = {sensed[TIP], sensed[TIP + 1]};
            chip.position_sums[row] = distance(run, 0, chip.first + row, tip);
            note_tip(run, 0, chip.first + row, tip);
            if (run.keep) {
                real* place = run.arms + (size_t)(chip.first + row) * ARM_SIZE;
                for (int q = 0; q < ARM_SIZE; q++) place[q] = state[q];
            }
        }
    }
}

/// Puts into z what is known at a step, and the noise of all inputs; what the arm feeds back is still to come.
DEVICE void show(const Run& run, const Chip& chip, int step) {
    const real* known = run.observations + ((size_t)step * run.rows + chip.first) * run.observation;
    const Stream stream = {run.seed, run.batch, run.input_purpose, (uint32_t)step};
    const int blocks = blocks_of_row(run.inputs);
    EACH(i, ROWS * blocks) {
        const int row = i / blocks, block = i % blocks;
        real* inputs = chip.z + row * run.z_stride + run.hidden;
        if (row >= chip.count || !run.noisy) {
            for (int j = block * 4; j < run.inputs && j < block * 4 + 4; j++)
                inputs[j] = row < chip.count && j < run.known ? known[row * run.observation + j] : 0;
        } else {
            draw(stream, run.numbers[chip.first + row], run.inputs, block, [&](int j, float normal) {
                const real noise = real(run.input_noise) * normal;
                inputs[j] = (j < run.known ? known[row * run.observation + j] : 0) + noise;
            });
        }
    }
}

/// Draws the units' noise of a step.
DEVICE void draw_unit_noise(const Run& run, const Chip& chip, int step) {
    if (!run.noisy) return;
    const Stream stream = {run.seed, run.batch, run.hidden_purpose, (uint32_t)step};
    const int blocks = blocks_of_row(run.hidden);
    EACH(i, chip.count * blocks) {
        const int row = i / blocks;
        real* noise = chip.noise + row * run.unit_stride;
        draw(stream, run.numbers[chip.first + row], run.hidden, i % blocks,
             [&](int unit, float normal) { noise[unit] = real(run.hidden_noise) * normal; });
    }
}

/// Writes the inputs of a step out, with the 1 behind them.
DEVICE void note_inputs(const Run& run, const Chip& chip, int step) {
    if (!run.keep) return;
    const int width = run.z_stride - run.hidden;
    EACH(i, chip.count * width) {
        const int row = i / width, place = run.hidden + i % width;
        run.z[((size_t)step * run.rows + chip.first + row) * run.z_stride + place] =
            chip.z[row * run.z_stride + place];
    }
}

/// x ← x + α (p + ξ − x), h = f(x).
DEVICE void advance_units(const Run& run, const Chip& chip, int step) {
    const real alpha = run.alpha;
    EACH(i, ROWS * run.hidden) {
        const int row = i / run.hidden, unit = i % run.hidden;
        const int place = row * run.unit_stride + unit;
        const real entering = product(chip.partial, run.unit_stride, run.entering_slices, row, unit) + chip.noise[place];
        const real old = chip.x[place];
        const real x = (entering - old) * alpha + old;
        const real h = fire(run.activation, x);
        chip.x[place] = x;
        chip.z[row * run.z_stride + unit] = h;
        if (run.keep && row < chip.count) {
            const size_t sample = (size_t)step * run.rows + chip.first + row;
            run.d[sample * run.d_stride + unit] = x;
            run.z[(sample + run.rows) * run.z_stride + unit] = h;
        }
    }
}

/// V h, in parts.
DEVICE void leave_units(const Run& run, const Chip& chip) {
    EACH(i, ROWS * MUSCLES * PARTS) {
        const int part = i % PARTS, muscle = i / PARTS % MUSCLES, row = i / PARTS / MUSCLES;
        const real* weights = run.leaving + muscle * (run.hidden + 1);
        const real* h = chip.z + row * run.z_stride;
        real sum = part == 0 ? weights[run.hidden] : 0;
        for (int unit = part; unit < run.hidden; unit += PARTS) sum += weights[unit] * h[unit];
        chip.outputs[i] = sum;
    }
}

/// A muscle's step: excitation, activation, and the force at the old geometry.
DEVICE void pull(const Run& run, const Chip& chip, int step, int row, int muscle) {
    const real* old = chip.arms[step % 2] + row * ARM_SIZE;
    real* now = chip.arms[(step + 1) % 2] + row * ARM_SIZE;
    real output = 0;
    for (int part = 0; part < PARTS; part++) output += chip.outputs[(row * MUSCLES + muscle) * PARTS + part];
    const real excitation = sigmoid(output);
    const real activation = activate(old[ACTIVATION + muscle], excitation);
    const Fibre at = fibre(muscle, old + ANGLE, old + VELOCITY);
    now[ACTIVATION + muscle] = activation;
    now[FORCE + muscle] = force(muscle, at, activation);
    chip.muscle_sums[row * MUSCLES + muscle] += activation;
    real* feedback = chip.z + row * run.z_stride + run.hidden + run.known;
    feedback[LENGTH + muscle] += at.length;
    feedback[SPEED + muscle] += at.speed;
    if (run.keep && row < chip.count) {
        const size_t sample = (size_t)step * run.rows + chip.first + row;
        run.excitations[sample * MUSCLES + muscle] = excitation;
        real* place = run.arms + (sample + run.rows) * ARM_SIZE;
        place[ACTIVATION + muscle] = now[ACTIVATION + muscle];
        place[FORCE + muscle] = now[FORCE + muscle];
    }
}

/// The joints' step under the old forces.
DEVICE void turn(const Run& run, const Chip& chip, int step, int row) {
    const real* old = chip.arms[step % 2] + row * ARM_SIZE;
    real* now = chip.arms[(step + 1) % 2] + row * ARM_SIZE;
    const Dynamics d = dynamics(old + ANGLE, old + VELOCITY, old + FORCE);
    const Joints joints = limited(moved(old + ANGLE, old + VELOCITY, solve(d, d.net)));
    for (int j = 0; j < 2; j++) {
        now[ANGLE + j] = joints.angle[j];
        now[VELOCITY + j] = joints.velocity[j];
    }
    const Pair tip = fingertip(joints.angle);
    real* feedback = chip.z + row * run.z_stride + run.hidden + run.known;
    feedback[TIP] += tip.x;
    feedback[TIP + 1] += tip.y;
    if (row < chip.count) {
        chip.position_sums[row] += distance(run, step + 1, chip.first + row, tip);
        note_tip(run, step + 1, chip.first + row, tip);
        if (run.keep) {
            real* place = run.arms + ((size_t)(step + 1) * run.rows + chip.first + row) * ARM_SIZE;
            for (int q = 0; q < ACTIVATION; q++) place[q] = now[q];
        }
    }
}

/// The arms' step: muscles and joints at once, as neither needs what the other makes of it. Joints begin at a
/// multiple of 32, so that a warp has one kind of work.
DEVICE void act(const Run& run, const Chip& chip, int step) {
    const int muscles = ROWS * MUSCLES, joints = (muscles + 31) / 32 * 32;
    EACH(i, joints + ROWS) {
        if (i < muscles) pull(run, chip, step, i / MUSCLES, i % MUSCLES);
        if (i >= joints) turn(run, chip, step, i - joints);
    }
}

/// What is sensed at the start, which the first call is shown.
DEVICE void feel_start(const Run& run, const Chip& chip) {
    EACH(row, ROWS) {
        real state[ARM_SIZE], sensed[SENSED];
        start_arm(state, sensed);
        real* feedback = chip.z + row * run.z_stride + run.hidden + run.known;
        for (int q = 0; q < SENSED; q++) feedback[q] += sensed[q];
    }
}

KERNEL(forward) {
    SHARED_MEMORY(memory);
    const Chip chip = forward_chip(run, memory);
    begin(run, chip);
    SYNC();
    show(run, chip, 0);
    draw_unit_noise(run, chip, 0);
    SYNC();
    feel_start(run, chip);
    SYNC();
    for (int step = 0; step < run.steps; step++) {
        multiply(chip.z, run.z_stride, run.entering, run.unit_stride, run.z_stride, run.entering_slices, chip.partial);
        note_inputs(run, chip, step);
        SYNC();
        advance_units(run, chip, step);
        SYNC();
        leave_units(run, chip);
        show(run, chip, step + 1);
        SYNC();
        act(run, chip, step);
        draw_unit_noise(run, chip, step + 1);
        SYNC();
    }
    note_inputs(run, chip, run.steps);
    EACH(row, chip.count) {
        run.position_sums[chip.first + row] = chip.position_sums[row];
        real sum = 0;
        for (int m = 0; m < MUSCLES; m++) sum += chip.muscle_sums[row * MUSCLES + m];
        run.muscle_sums[chip.first + row] = sum;
    }
    if (!run.keep) return;
    // The h that call 0 knew.
    EACH(i, chip.count * run.hidden)
        run.z[(size_t)(chip.first + i / run.hidden) * run.z_stride + i % run.hidden] = 0;
}
