// One muscle: activation, fibre, the curves of its force, and the adjoints of all of them.
//
// The formulas are those of arm/muscle.rs and arm/geometry.rs; docs/engine.md derives the adjoints, with these names.
#pragma once

/// Moment arm R = p₁ + 2 p₂ (q − r), m.
DEVICE real moment_arm(int muscle, int joint, real angle) {
    return (angle - REFERENCE_RAD[joint]) * TWICE_QUADRATIC_M[joint][muscle] + LINEAR_M[joint][muscle];
}

DEVICE real steps_to_rise(real a) { return a * STEPS_TO_RISE_SLOPE + STEPS_TO_RISE_AT_0; }

/// Activation before it is clipped: a + (u − a)/s where it rises, a + (u − a) s/4 where it falls.
DEVICE real activate_raw(real a, real u) {
    const real s = steps_to_rise(a);
    return (u - a) * (a < u ? 1 / s : s * FALL_GAIN) + a;
}

DEVICE real activate(real a, real u) { return clip(activate_raw(a, u)); }

/// Slopes of old activation and excitation.
DEVICE void activate_adjoint(real a, real u, real slope, real* by_activation, real* by_excitation) {
    slope = within_unit(activate_raw(a, u), slope);
    const real s = steps_to_rise(a);
    const bool rising = a < u;
    const real per_s = 1 / s;
    const real gain = rising ? per_s : s * FALL_GAIN;
    const real gain_slope = (rising ? -(per_s * per_s) : FALL_GAIN) * STEPS_TO_RISE_SLOPE;
    *by_activation = slope * ((u - a) * gain_slope - gain + 1);
    *by_excitation = slope * gain;
}

/// Length (optimal lengths) and speed (1.5 m/s) of a fibre, and its length before the floor, m.
struct Fibre {
    real raw_length, length, speed;
};

DEVICE Fibre fibre(int muscle, const real angle[2], const real velocity[2]) {
    real raw_length = SLACK_M[muscle], speed = 0;
    for (int j = 0; j < 2; j++) {
        const real arm = moment_arm(muscle, j, angle[j]);
        raw_length += (arm + LINEAR_M[j][muscle]) * real(0.5) * (angle[j] - REFERENCE_RAD[j]);
        speed += velocity[j] * arm;
    }
    Fibre fibre;
    fibre.raw_length = raw_length;
    fibre.length = at_least(raw_length, MIN_FIBRE_M) * PER_OPTIMAL_M[muscle];
    fibre.speed = speed * PER_UNIT_SPEED;
    return fibre;
}

/// A curve's value and its slope.
struct Curve {
    real value, slope;
};

DEVICE Curve hump(real length, int which) {
    const real rise = HUMP_RISE[which], fall = HUMP_FALL[which], peak = HUMP_PEAK[which];
    const real y = clip((length - ACTIVE_FROM) * rise) - clip((length - peak) * fall);
    const real upper = at_least(y - real(0.5), 0);
    const real along = length < peak ? rise : -fall;
    return {(y * y - upper * upper * 2) * (2 * HUMP_WEIGHT[which]),
            (y - upper * 2) * along * (4 * HUMP_WEIGHT[which])};
}

/// f_l.
DEVICE Curve length_factor(real length) {
    const Curve first = hump(length, 0), second = hump(length, 1);
    return {first.value + second.value, first.slope + second.slope};
}

/// f_p.
DEVICE Curve passive(real length) {
    const real stretch = (length - 1) * PER_PASSIVE_WIDTH;
    const real bent = clip(stretch), square = bent * bent;
    return {(square * bent + at_least(stretch - 1, 0) * 3) * PASSIVE_GAIN, square * PASSIVE_SLOPE};
}

/// f_v.
DEVICE Curve speed_factor(real speed) {
    const real shortening = clip(speed + 1);
    const real lengthening = at_most(at_least(speed, 0), MAX_LENGTHENING);
    const real rest = 1 - lengthening * PER_MAX_LENGTHENING;
    return {lengthening * (rest + 1) + shortening * shortening, (speed > 0 ? rest : shortening) * 2};
}

/// F = Fmax (a f_l f_v + f_p), N.
DEVICE real force(int muscle, const Fibre& fibre, real activation) {
    const real active = length_factor(fibre.length).value * speed_factor(fibre.speed).value;
    return (activation * active + passive(fibre.length).value) * MAX_FORCE_N[muscle];
}

/// Slopes of a path's length and speed, and of the activation, from those of the force and of what is sensed.
struct MuscleSlopes {
    real length, velocity, activation;
};

DEVICE MuscleSlopes muscle_adjoint(int muscle, const Fibre& fibre, real activation, real of_force, real of_length,
                                   real of_speed) {
    const Curve by_length = length_factor(fibre.length), by_speed = speed_factor(fibre.speed);
    const real scaled = of_force * MAX_FORCE_N[muscle], active = scaled * activation;
    const real length =
        active * by_speed.value * by_length.slope + scaled * passive(fibre.length).slope + of_length;
    const real speed = active * by_length.value * by_speed.slope + of_speed;
    return {fibre.raw_length >= MIN_FIBRE_M ? length * PER_OPTIMAL_M[muscle] : real(0), speed * PER_UNIT_SPEED,
            scaled * by_length.value * by_speed.value};
}
