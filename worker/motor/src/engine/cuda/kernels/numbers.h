// Numbers of the chosen precision, and functions of them that processors' libraries lack.
#pragma once

struct alignas(2 * sizeof(real)) Two {
    real a, b;
};
struct alignas(4 * sizeof(real) > 16 ? 16 : 4 * sizeof(real)) Four {
    real a, b, c, d;
};

DEVICE Four load4(const real* place) { return *(const Four*)place; }
DEVICE Two load2(const real* place) { return *(const Two*)place; }

DEVICE real at_least(real x, real bound) { return x < bound ? bound : x; }
DEVICE real at_most(real x, real bound) { return bound < x ? bound : x; }
DEVICE real clip(real x) { return at_most(at_least(x, 0), 1); }
DEVICE real magnitude(real x) { return x > 0 ? x : -x; }
DEVICE real sign(real x) { return x > 0 ? real(1) : x < 0 ? real(-1) : real(0); }
/// A slope where clipping to [0, 1] lets it through.
DEVICE real within_unit(real x, real slope) { return 0 <= x && x <= 1 ? slope : real(0); }
DEVICE bool is_finite(double x) { return x - x == 0; }

/// 1/(1 + e⁻ˣ).
DEVICE real sigmoid(real x) {
    const real e = exp(-magnitude(x));
    const real of_magnitude = 1 / (e + 1);
    return x > 0 ? of_magnitude : e * of_magnitude;
}
