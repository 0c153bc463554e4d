// Normal draws, bit for bit those of `random.rs`: counter-based, so every thread draws its own.
#pragma once

struct Stream {
    uint64_t seed, batch;
    uint32_t purpose, step;
};

/// Philox4x32 with ten rounds, in place.
DEVICE void philox(uint32_t counter[4], uint32_t key0, uint32_t key1) {
    for (int round = 0; round < 10; round++) {
        const uint32_t high0 = high_product(0xD2511F53u, counter[0]), low0 = 0xD2511F53u * counter[0];
        const uint32_t high1 = high_product(0xCD9E8D57u, counter[2]), low1 = 0xCD9E8D57u * counter[2];
        counter[0] = high1 ^ counter[1] ^ key0;
        counter[1] = low1;
        counter[2] = high0 ^ counter[3] ^ key1;
        counter[3] = low0;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
}

/// a b + c, rounded twice.
DEVICE float twice(float a, float b, float c) { return plus(times(a, b), c); }

/// Natural logarithm of a positive normal number.
DEVICE float normal_ln(float x) {
    const uint32_t sqrt_half = 0x3F3504F3u;
    const uint32_t shifted = bits_of_float(x) - sqrt_half;
    const float exponent = (float)((int)shifted >> 23);
    const float f = plus(float_of_bits((shifted & 0x007FFFFFu) + sqrt_half), -1.0f);
    float p = 7.0376836e-2f;
    p = twice(p, f, -1.151461e-1f);
    p = twice(p, f, 1.16769984e-1f);
    p = twice(p, f, -1.2420141e-1f);
    p = twice(p, f, 1.4249323e-1f);
    p = twice(p, f, -1.6668057e-1f);
    p = twice(p, f, 2.0000714e-1f);
    p = twice(p, f, -2.4999994e-1f);
    p = twice(p, f, 3.333333e-1f);
    const float square = times(f, f);
    const float bent = plus(times(times(square, f), p), -times(0.5f, square));
    return plus(plus(f, bent), times(exponent, 0.693147180559945f));
}

/// Sine and cosine of 2π · bits/2³².
DEVICE void sin_cos_of_turn(uint32_t bits, float* sin, float* cos) {
    const uint32_t quarter = (bits + (1u << 29)) >> 30;
    const float rest = times((float)(int)(bits - (quarter << 30)), 3.14159265358979f / 2147483648.0f);
    const float square = times(rest, rest);
    float p = plus(8.332161e-3f, times(square, -1.9515296e-4f));
    p = plus(-1.6666655e-1f, times(square, p));
    const float s = plus(rest, times(times(rest, square), p));
    float q = plus(-1.3887316e-3f, times(square, 2.4433157e-5f));
    q = plus(4.1666646e-2f, times(square, q));
    const float c = plus(plus(1.0f, -times(0.5f, square)), times(times(square, square), q));
    const bool swapped = quarter & 1;
    const uint32_t sin_sign = (quarter & 2) << 30, cos_sign = ((quarter + 1) & 2) << 30;
    *sin = float_of_bits(bits_of_float(swapped ? c : s) ^ sin_sign);
    *cos = float_of_bits(bits_of_float(swapped ? s : c) ^ cos_sign);
}

/// The four draws of a block of a stream's elements.
DEVICE void normal_block(const Stream& stream, uint32_t block, float normals[4]) {
    uint32_t words[4] = {block, stream.step, (uint32_t)stream.batch,
                         ((uint32_t)(stream.batch >> 32) & 0x00FFFFFFu) | stream.purpose << 24};
    philox(words, (uint32_t)stream.seed, (uint32_t)(stream.seed >> 32));
    for (int pair = 0; pair < 4; pair += 2) {
        const float unit = times(plus((float)(int)(words[pair] >> 1), 0.5f), 1.0f / 2147483648.0f);
        const float radius = sqrtf(times(-2.0f, normal_ln(unit)));
        float sin, cos;
        sin_cos_of_turn(words[pair + 1], &sin, &cos);
        normals[pair] = times(radius, cos);
        normals[pair + 1] = times(radius, sin);
    }
}

/// Blocks that hold the elements of a row of `width`, at most.
DEVICE int blocks_of_row(int width) { return (width + 6) / 4; }

/// Gives `use` every element of one of a row's blocks that belongs to the row: its place in the row, and the draw.
template <typename Use> DEVICE void draw(const Stream& stream, uint32_t number, int width, int block, Use use) {
    const uint32_t first = number * (uint32_t)width;
    const uint32_t of_stream = first / 4 + block;
    const int place = (int)(of_stream * 4 - first);
    if (place >= width) return;
    float normals[4];
    normal_block(stream, of_stream, normals);
    for (int i = 0; i < 4; i++) {
        if (place + i >= 0 && place + i < width) use(place + i, normals[i]);
    }
}
