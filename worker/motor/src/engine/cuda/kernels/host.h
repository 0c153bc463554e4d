// The kernels' words for a processor, so that tests run the very source that a card does.
//
// A block's threads are lanes: functions with stacks of their own that take turns at every SYNC(). One lane is as
// fast as it gets; several, run in orders that change from turn to turn, give other results where a SYNC() is
// missing, or where rounds of a loop depend on each other.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <ucontext.h>
#include <vector>

using std::exp;
using std::fabs;
using std::log1p;
using std::sqrt;
using std::tanh;

static inline void sincos(float x, float* sin, float* cos) { ::sincosf(x, sin, cos); }

#define DEVICE static inline
#define CONSTANT static const

namespace host {

static int block, lane, lanes, order;
static char* memory;
static ucontext_t scheduler;
static std::vector<ucontext_t> contexts;
static std::vector<char> finished;

/// The n-th of `count` rounds in the order under test: forwards, backwards, or in strides.
static inline int round_of(int n, int count) {
    if (order == 0) return n;
    if (order == 1) return count - 1 - n;
    // 7919 is prime: every round comes once unless it divides their number.
    return count % 7919 == 0 ? n : (int)((int64_t)n * 7919 % count);
}

static inline void sync() {
    if (lanes > 1) swapcontext(&contexts[lane], &scheduler);
}

/// Runs a block with every lane up to its next SYNC() in turn, until all are done.
template <typename Body> static void run_block(Body body) {
    if (lanes == 1) {
        lane = 0;
        body();
        return;
    }
    static const size_t STACK = 1 << 18;
    static std::vector<std::vector<char>> stacks;
    static Body* entry;
    entry = &body;
    contexts.resize(lanes);
    finished.assign(lanes, 0);
    stacks.resize(lanes);
    for (int i = 0; i < lanes; i++) {
        stacks[i].resize(STACK);
        getcontext(&contexts[i]);
        contexts[i].uc_stack.ss_sp = stacks[i].data();
        contexts[i].uc_stack.ss_size = STACK;
        contexts[i].uc_link = nullptr;
        makecontext(&contexts[i], (void (*)())(+[] {
            (*entry)();
            finished[lane] = 1;
            swapcontext(&contexts[lane], &scheduler);
        }), 0);
    }
    for (int turn = 0, left = lanes; left > 0; turn++) {
        left = 0;
        for (int n = 0; n < lanes; n++) {
            lane = (n + turn) % lanes;
            if (turn % 2) lane = lanes - 1 - lane;
            if (finished[lane]) continue;
            swapcontext(&scheduler, &contexts[lane]);
            left += !finished[lane];
        }
    }
}

template <typename Body> static int run_blocks(int blocks, size_t bytes, Body body) {
    const size_t GUARD = 64;
    std::vector<double> room((bytes + GUARD) / sizeof(double) + 8);
    memory = (char*)room.data();
    memory += (32 - (size_t)memory % 32) % 32;
    for (int n = 0; n < blocks; n++) {
        block = round_of(n, blocks);
        memset(memory, 0xff, bytes + GUARD);
        run_block(body);
        for (size_t i = 0; i < GUARD; i++) {
            if (memory[bytes + i] != (char)0xff) return 1;
        }
    }
    return 0;
}

}  // namespace host

/// A kernel and the function that launches it, by its name: all blocks one after the other, in shared memory that
/// holds no numbers at the start. Returns 0, or 1 when a block wrote behind the end of that memory.
#define KERNEL(name)                                                                         \
    static void name##_block(const Run& run);                                                \
    extern "C" int name(const Run* run, int blocks, size_t bytes, int lanes, int order) {    \
        host::lanes = lanes;                                                                 \
        host::order = order;                                                                 \
        return host::run_blocks(blocks, bytes, [run] { name##_block(*run); });               \
    }                                                                                        \
    static void name##_block(const Run& run)
#define BLOCK (host::block)

#define SHARED_MEMORY(name) real* name = (real*)host::memory

#define EACH(index, count)                                                                               \
    for (int index##_n = host::lane, index##_end = (count), index;                                       \
         index##_n < index##_end && (index = host::round_of(index##_n, index##_end), true); index##_n += host::lanes)

#define SYNC() host::sync()

DEVICE float times(float a, float b) { return a * b; }
DEVICE float plus(float a, float b) { return a + b; }

DEVICE float float_of_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
DEVICE uint32_t bits_of_float(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
DEVICE uint32_t high_product(uint32_t a, uint32_t b) { return (uint64_t)a * b >> 32; }
