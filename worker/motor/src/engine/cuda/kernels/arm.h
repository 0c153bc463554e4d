// A row's arm in memory: what the threads of a block hand to each other.
#pragma once

/// Places in an arm's state: angles (rad), velocities (rad/s), activations, forces (N).
enum { ANGLE = 0, VELOCITY = 2, ACTIVATION = 4, FORCE = 10, ARM_SIZE = 16 };
/// Places in what is sensed of it: fingertip (m), fibre lengths (optimal lengths), fibre speeds (1.5 m/s).
enum { TIP = 0, LENGTH = 2, SPEED = 8, SENSED = 14 };

/// The arm at the start of a trial, muscles silent, and what is sensed of it.
DEVICE void start_arm(real state[ARM_SIZE], real sensed[SENSED]) {
    for (int j = 0; j < 2; j++) {
        state[ANGLE + j] = START_RAD[j];
        state[VELOCITY + j] = 0;
    }
    const Pair tip = fingertip(state + ANGLE);
    sensed[TIP] = tip.x;
    sensed[TIP + 1] = tip.y;
    for (int m = 0; m < MUSCLES; m++) {
        const Fibre at_rest = fibre(m, state + ANGLE, state + VELOCITY);
        state[ACTIVATION + m] = 0;
        state[FORCE + m] = force(m, at_rest, 0);
        sensed[LENGTH + m] = at_rest.length;
        sensed[SPEED + m] = at_rest.speed;
    }
}
