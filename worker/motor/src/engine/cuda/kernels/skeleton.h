// Bones and joints: equations of motion, limits, the fingertip, and the adjoints of all of them.
//
// The formulas are those of arm/skeleton.rs.
#pragma once

struct Pair {
    real x, y;
};

/// Fingertip, metres, of angles.
DEVICE Pair fingertip(const real angle[2]) {
    real sin1, cos1, sin12, cos12;
    sincos(angle[0], &sin1, &cos1);
    sincos(angle[0] + angle[1], &sin12, &cos12);
    return {cos1 * UPPER_ARM_M + cos12 * FOREARM_M, sin1 * UPPER_ARM_M + sin12 * FOREARM_M};
}

/// Jᵀ times the slopes of the fingertip.
DEVICE Pair fingertip_adjoint(const real angle[2], Pair slope) {
    real sin1, cos1, sin12, cos12;
    sincos(angle[0], &sin1, &cos1);
    sincos(angle[0] + angle[1], &sin12, &cos12);
    const real elbow = (slope.y * cos12 - slope.x * sin12) * FOREARM_M;
    return {(slope.y * cos1 - slope.x * sin1) * UPPER_ARM_M + elbow, elbow};
}

/// M g = n at an old state: the parts of M⁻¹ and the net torque.
struct Dynamics {
    real k_sin, k_cos, m11, m12, per_determinant;
    Pair net;
};

DEVICE Dynamics dynamics(const real angle[2], const real velocity[2], const real force[MUSCLES]) {
    Dynamics d;
    real sin, cos;
    sincos(angle[1], &sin, &cos);
    d.k_sin = sin * COUPLING;
    d.k_cos = cos * COUPLING;
    const real w1 = velocity[0], w2 = velocity[1];
    d.net = {d.k_sin * (w1 * 2 + w2) * w2, -(d.k_sin * w1 * w1)};
    for (int m = 0; m < MUSCLES; m++) {
        d.net.x -= force[m] * moment_arm(m, 0, angle[0]);
        d.net.y -= force[m] * moment_arm(m, 1, angle[1]);
    }
    d.m11 = d.k_cos * 2 + SHOULDER_INERTIA;
    d.m12 = d.k_cos + ELBOW_INERTIA;
    d.per_determinant = 1 / (d.m11 * ELBOW_INERTIA - d.m12 * d.m12);
    return d;
}

/// M⁻¹ r. M is symmetric, so this is its own adjoint.
DEVICE Pair solve(const Dynamics& d, Pair right) {
    return {(right.x * ELBOW_INERTIA - d.m12 * right.y) * d.per_determinant,
            (d.m11 * right.y - d.m12 * right.x) * d.per_determinant};
}

/// Angles and velocities after an Euler step.
struct Joints {
    real angle[2], velocity[2];
};

/// Before the limits: angles move with the old velocity.
DEVICE Joints moved(const real angle[2], const real velocity[2], Pair acceleration) {
    return {{velocity[0] * DT_S + angle[0], velocity[1] * DT_S + angle[1]},
            {acceleration.x * DT_S + velocity[0], acceleration.y * DT_S + velocity[1]}};
}

/// Bounds of a velocity: it may point only away from a limit that the angle has reached.
DEVICE real slowest(const Joints& raw, int j) { return raw.angle[j] > 0 ? -MAX_VELOCITY_RAD_S : real(0); }
DEVICE real fastest(const Joints& raw, int j) {
    return raw.angle[j] < UPPER_ANGLES_RAD[j] ? MAX_VELOCITY_RAD_S : real(0);
}

DEVICE Joints limited(const Joints& raw) {
    Joints joints;
    for (int j = 0; j < 2; j++) {
        joints.angle[j] = at_most(at_least(raw.angle[j], 0), UPPER_ANGLES_RAD[j]);
        joints.velocity[j] = at_most(at_least(raw.velocity[j], slowest(raw, j)), fastest(raw, j));
    }
    return joints;
}

/// Slopes before the limits: what lies within them passes.
DEVICE Joints limited_adjoint(const Joints& raw, const Joints& slopes) {
    Joints passed;
    for (int j = 0; j < 2; j++) {
        const bool angle = 0 <= raw.angle[j] && raw.angle[j] <= UPPER_ANGLES_RAD[j];
        const bool velocity = slowest(raw, j) <= raw.velocity[j] && raw.velocity[j] <= fastest(raw, j);
        passed.angle[j] = angle ? slopes.angle[j] : real(0);
        passed.velocity[j] = velocity ? slopes.velocity[j] : real(0);
    }
    return passed;
}

/// From slopes of the new joints (the fingertip's included): those of the old ones, muscles apart, and of the net
/// torque.
DEVICE Joints joints_adjoint(const real angle[2], const real velocity[2], const real force[MUSCLES],
                             const Joints& slopes, Pair of_fingertip, Pair* of_net) {
    const Dynamics d = dynamics(angle, velocity, force);
    const Pair g = solve(d, d.net);
    const Joints raw = moved(angle, velocity, g);
    const Pair by_fingertip = fingertip_adjoint(limited(raw).angle, of_fingertip);
    Joints of_new = slopes;
    of_new.angle[0] += by_fingertip.x;
    of_new.angle[1] += by_fingertip.y;
    const Joints of_raw = limited_adjoint(raw, of_new);

    const Pair n = solve(d, {of_raw.velocity[0] * DT_S, of_raw.velocity[1] * DT_S});
    const real w1 = velocity[0], w2 = velocity[1];
    const real by_mass = d.k_sin * (n.x * (g.x * 2 + g.y) + n.y * g.x);
    const real by_coriolis = d.k_cos * (n.x * (w1 * 2 + w2) * w2 - n.y * w1 * w1);
    *of_net = n;
    return {{of_raw.angle[0], of_raw.angle[1] + by_mass + by_coriolis},
            {of_raw.angle[0] * DT_S + of_raw.velocity[0] + d.k_sin * (n.x * w2 - n.y * w1) * 2,
             of_raw.angle[1] * DT_S + of_raw.velocity[1] + d.k_sin * n.x * (w1 + w2) * 2}};
}
