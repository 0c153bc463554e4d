// The units' functions and their slopes.
#pragma once

/// As `policy::Activation` numbers them in run.rs.
enum Activation { SOFTPLUS, RELU, TANH, SIGMOID, LINEAR };

/// Above this, softplus is the identity.
constexpr real SOFTPLUS_STRAIGHT = 20;

/// h = f(x).
DEVICE real fire(int activation, real x) {
    switch (activation) {
        case SOFTPLUS: return x > SOFTPLUS_STRAIGHT ? x : at_least(x, 0) + log1p(exp(-magnitude(x)));
        case RELU: return at_least(x, 0);
        case TANH: return tanh(x);
        case SIGMOID: return sigmoid(x);
        default: return x;
    }
}

/// The slope at h that the dynamics loss looks at.
DEVICE real slope_at_h(int activation, real h) {
    switch (activation) {
        case SOFTPLUS: return sigmoid(h);
        case RELU: return h > 0 ? real(1) : real(0);
        default: return 0;
    }
}

/// f′(x), and the derivative of `slope_at_h` with respect to h.
DEVICE void fire_slopes(int activation, real x, real h, real* slope, real* bend) {
    *bend = 0;
    switch (activation) {
        case SOFTPLUS: {
            *slope = x > SOFTPLUS_STRAIGHT ? real(1) : sigmoid(x);
            const real s = sigmoid(h);
            *bend = s - s * s;
            return;
        }
        case RELU: *slope = x > 0 ? real(1) : real(0); return;
        case TANH: *slope = 1 - h * h; return;
        case SIGMOID: *slope = h - h * h; return;
        default: *slope = 1; return;
    }
}
