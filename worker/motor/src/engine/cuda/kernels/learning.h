// What surrounds the episodes: matrices from parameters, losses, gradients, Adam. No sum depends on the order in
// which threads get to it: parts are summed one by one, in theirs.
#pragma once

/// Parts that sums over samples are shared out in.
enum { SUM_PARTS = 16 };
/// Units of a block of `sum_units`, and its lanes for each.
enum { UNIT_GROUP = 32, UNIT_LANES = 8 };
/// Σ dᵀz comes in tiles of so many columns of d and of z; a thread has 8 × 4 of them.
enum { TILE = 72 };
/// Parameters of a block.
enum { PARAMETER_GROUP = 1024 };
/// Lanes of the last stage of sums.
enum { LANES = 32 };
/// Places in the report; report.rs has the same.
enum { POSITION, RATE, MUSCLE, DYNAMICS, WEIGHT, NORM, APPLIED };

/// A weight as it acts, up to its factor, and the derivative of that.
DEVICE real acting(const Run& run, int kind, real x) {
    if (kind == 0) return x;
    return at_most(at_least(magnitude(x), real(run.lower[kind - 1])), real(run.upper[kind - 1]));
}
DEVICE real acting_slope(const Run& run, int kind, real x) {
    if (kind == 0) return 1;
    const real size = magnitude(x);
    return real(run.lower[kind - 1]) <= size && size <= real(run.upper[kind - 1]) ? sign(x) : real(0);
}

/// A = [W | U | b] and [V | c] from the parameters, laid out for the products.
KERNEL(assemble) {
    const int columns = run.hidden + run.inputs + 1, entries = run.hidden * columns;
    const int outputs = MUSCLES * (run.hidden + 1);
    EACH(i, PARAMETER_GROUP) {
        const int entry = BLOCK * PARAMETER_GROUP + i;
        if (entry < entries + outputs) {
            const int source = run.source[entry];
            const real value =
                run.factor[entry] * (source < 0 ? 1 : acting(run, run.kind[source], run.parameter[source]));
            if (entry >= entries) {
                run.leaving[entry - entries] = value;
            } else {
                const int to = entry / columns, from = entry % columns;
                run.entering[(size_t)from * run.unit_stride + to] = value;
                const int feedback = run.hidden + run.known;
                if (from < run.hidden) run.back[(size_t)to * run.back_stride + from] = value;
                if (from >= feedback && from < feedback + SENSED)
                    run.back[(size_t)to * run.back_stride + run.hidden + from - feedback] = value;
            }
        }
    }
}

/// A part of Σ|h| and of the sum of slopes at h, of some units, over the h after every call.
KERNEL(sum_units) {
    SHARED_MEMORY(memory);
    const int groups = (run.hidden + UNIT_GROUP - 1) / UNIT_GROUP;
    const int part = BLOCK / groups, first = BLOCK % groups * UNIT_GROUP;
    const int count = run.rows * run.steps;
    const int from = (int)((long long)count * part / SUM_PARTS), to = (int)((long long)count * (part + 1) / SUM_PARTS);
    EACH(i, UNIT_GROUP * UNIT_LANES) {
        const int unit = first + i % UNIT_GROUP;
        real rate = 0, slope = 0;
        if (unit < run.hidden) {
            for (int sample = from + i / UNIT_GROUP; sample < to; sample += UNIT_LANES) {
                const real h = run.z[(size_t)(sample + run.rows) * run.z_stride + unit];
                rate += magnitude(h);
                slope += slope_at_h(run.activation, h);
            }
        }
        memory[i * 2] = rate;
        memory[i * 2 + 1] = slope;
    }
    SYNC();
    EACH(i, UNIT_GROUP * 2) {
        const int unit = first + i / 2;
        real sum = 0;
        for (int lane = 0; lane < UNIT_LANES; lane++) sum += memory[(lane * UNIT_GROUP + i / 2) * 2 + i % 2];
        if (unit < run.hidden) run.unit_sums[((size_t)part * 2 + i % 2) * run.hidden + unit] = sum;
    }
}

/// The means that the losses are made of, and what the dynamics loss passes back. One block.
///
/// With d the mean slope of a unit, n = ‖W_ij d_j²‖: W̄_ij = λ W_ij d_j⁴/n, and the slope of each slope of unit j is
/// 2 λ d_j³ Σᵢ W_ij²/(n N). 0 where n is 0.
KERNEL(losses) {
    SHARED_MEMORY(memory);
    double* of_units = (double*)memory;
    double* lanes = of_units + 3 * run.hidden;
    const double count = samples(run);
    EACH(unit, run.hidden) {
        double rate = 0, slope = run.rows * (double)slope_at_h(run.activation, 0), squares = 0;
        for (int part = 0; part < SUM_PARTS; part++) {
            rate += run.unit_sums[(size_t)part * 2 * run.hidden + unit];
            slope += run.unit_sums[((size_t)part * 2 + 1) * run.hidden + unit];
        }
        if (run.has_dynamics) {
            for (int to = 0; to < run.hidden; to++) {
                const double weight = run.back[(size_t)to * run.back_stride + unit];
                squares += weight * weight;
            }
        }
        of_units[unit] = rate;
        of_units[run.hidden + unit] = slope / count;
        of_units[2 * run.hidden + unit] = squares;
    }
    SYNC();
    EACH(lane, LANES) {
        double rate = 0, norm = 0, position = 0, muscle = 0;
        for (int unit = lane; unit < run.hidden; unit += LANES) {
            const double slope = of_units[run.hidden + unit];
            rate += of_units[unit];
            norm += of_units[2 * run.hidden + unit] * slope * slope * slope * slope;
        }
        for (int row = lane; row < run.rows; row += LANES) {
            position += run.position_sums[row];
            muscle += run.muscle_sums[row];
        }
        lanes[lane * 4] = position;
        lanes[lane * 4 + 1] = rate;
        lanes[lane * 4 + 2] = muscle;
        lanes[lane * 4 + 3] = norm;
    }
    SYNC();
    EACH(i, 4) {
        double sum = 0;
        for (int lane = 0; lane < LANES; lane++) sum += lanes[lane * 4 + i];
        if (i == RATE) sum /= run.hidden;
        run.report[i] = i == DYNAMICS ? sqrt(sum) : sum / count;
    }
    SYNC();
    const double norm = run.report[DYNAMICS];
    const double scale = norm > 0 ? run.dynamics / norm : 0;
    EACH(unit, run.hidden) {
        const double slope = of_units[run.hidden + unit], squares = of_units[2 * run.hidden + unit];
        run.unit_slopes[unit] = scale * 2 * slope * slope * slope * squares / count;
        run.column_slopes[unit] = scale * slope * slope * slope * slope;
    }
}

/// A part of Σ dᵀz over the samples: [W | U | b] in the first rows, [V | c] in the last.
KERNEL(sum_outer_products) {
    const int rows = run.hidden + MUSCLES;
    const int across = (run.z_stride + TILE - 1) / TILE, down = (rows + TILE - 1) / TILE;
    const int part = BLOCK / (across * down), tile = BLOCK % (across * down);
    const int count = run.rows * (run.steps + 1);
    const int from = (int)((long long)count * part / SUM_PARTS), to = (int)((long long)count * (part + 1) / SUM_PARTS);
    EACH(i, (TILE / 8) * (TILE / 4)) {
        const int row = tile / across * TILE + i / (TILE / 4) * 8, column = tile % across * TILE + i % (TILE / 4) * 4;
        if (row < rows && column < run.z_stride) {
            real sums[8][4];
            for (int r = 0; r < 8; r++) sums[r][0] = sums[r][1] = sums[r][2] = sums[r][3] = 0;
            // The second half of the rows may lie behind the end of d.
            const int second = row + 4 < run.d_stride ? 4 : 0;
            const real* d = run.d + (size_t)from * run.d_stride + row;
            const real* z = run.z + (size_t)from * run.z_stride + column;
#pragma unroll 2
            for (int sample = from; sample < to; sample++) {
                const Four upper = load4(d), lower = load4(d + second), right = load4(z);
                const real left[8] = {upper.a, upper.b, upper.c, upper.d, lower.a, lower.b, lower.c, lower.d};
#pragma unroll
                for (int r = 0; r < 8; r++) {
                    sums[r][0] += left[r] * right.a;
                    sums[r][1] += left[r] * right.b;
                    sums[r][2] += left[r] * right.c;
                    sums[r][3] += left[r] * right.d;
                }
                d += run.d_stride;
                z += run.z_stride;
            }
#pragma unroll
            for (int r = 0; r < 8; r++) {
                if (row + r < rows) {
                    real* place = run.outer_sums + ((size_t)part * rows + row + r) * run.z_stride + column;
#pragma unroll
                    for (int c = 0; c < 4; c++) place[c] = sums[r][c];
                }
            }
        }
    }
}

/// Gradients of the parameters from the slopes of the matrices, and the sums that norm and size are made of.
KERNEL(descend) {
    SHARED_MEMORY(memory);
    double* squares = (double*)memory;
    double* sizes = squares + PARAMETER_GROUP;
    const size_t part_size = (size_t)(run.hidden + MUSCLES) * run.z_stride;
    EACH(i, PARAMETER_GROUP) {
        const int parameter = BLOCK * PARAMETER_GROUP + i;
        squares[i] = sizes[i] = 0;
        if (parameter < run.parameters) {
            const real value = run.parameter[parameter];
            real slope = 0;
            const int place = run.place[parameter];
            if (place >= 0) {
                for (int part = 0; part < SUM_PARTS; part++) slope += run.outer_sums[part * part_size + place];
                const int to = place / run.z_stride, from = place % run.z_stride, kind = run.kind[parameter];
                if (run.has_dynamics && to < run.hidden && from < run.hidden)
                    slope += run.back[(size_t)to * run.back_stride + from] * run.column_slopes[from];
                slope *= run.parameter_factor[parameter] * acting_slope(run, kind, value);
            }
            slope += sign(value) * run.share[parameter] * real(run.weight);
            run.gradient[parameter] = slope;
            squares[i] = (double)slope * slope;
            sizes[i] = (double)magnitude(value) * run.share[parameter];
        }
    }
    SYNC();
    double* lanes = sizes + PARAMETER_GROUP;
    EACH(i, 2 * LANES) {
        double sum = 0;
        for (int n = i / 2; n < PARAMETER_GROUP; n += LANES) sum += (i % 2 ? sizes : squares)[n];
        lanes[i] = sum;
    }
    SYNC();
    EACH(i, 2) {
        double sum = 0;
        for (int lane = 0; lane < LANES; lane++) sum += lanes[lane * 2 + i];
        run.parameter_sums[BLOCK * 2 + i] = sum;
    }
}

/// Clips the gradients together and has Adam apply them, unless a loss or their norm is not finite.
///
/// m ← m + 0.1 (g − m), v ← 0.999 v + 0.001 g², p ← p − η m/(√v s + ε), as optimizer.rs has it.
KERNEL(adapt) {
    SHARED_MEMORY(memory);
    double* lanes = (double*)memory;
    double* sums = lanes + 2 * LANES;
    EACH(i, 2 * LANES) {
        double sum = 0;
        for (int n = i / 2; n < run.parameter_blocks; n += LANES) sum += run.parameter_sums[n * 2 + i % 2];
        lanes[i] = sum;
    }
    SYNC();
    EACH(i, 2) {
        double sum = 0;
        for (int lane = 0; lane < LANES; lane++) sum += lanes[lane * 2 + i];
        sums[i] = i == 0 ? sqrt(sum) : sum + run.fixed_size;
    }
    SYNC();
    const double norm = sums[0];
    const double total = run.report[POSITION] + run.rate * run.report[RATE] + run.muscle * run.report[MUSCLE] +
                         (run.has_dynamics ? run.dynamics * run.report[DYNAMICS] : 0) + run.weight * sums[1];
    const bool applied = is_finite(total) && is_finite(norm);
    const double limit = run.clip / (norm + CLIP_EPSILON);
    const real scale = limit < 1 ? limit : 1;
    EACH(i, PARAMETER_GROUP) {
        const int parameter = BLOCK * PARAMETER_GROUP + i;
        if (applied && parameter < run.parameters) {
            const real gradient = run.gradient[parameter] * scale;
            real first = run.first[parameter], second = run.second[parameter];
            first += (gradient - first) * FIRST_SHARE;
            second = second * SECOND_KEPT + gradient * gradient * SECOND_SHARE;
            run.first[parameter] = first;
            run.second[parameter] = second;
            run.parameter[parameter] -=
                first / (sqrt(second) * real(run.second_scale) + ADAM_EPSILON) * real(run.step_size);
        }
    }
    EACH(i, 1) {
        if (BLOCK == 0) {
            run.report[WEIGHT] = sums[1];
            run.report[NORM] = norm;
            run.report[APPLIED] = applied;
        }
    }
}
