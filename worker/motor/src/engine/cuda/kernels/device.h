// The kernels' words for a card. `host.h` has the same for a processor.
#pragma once

typedef unsigned int uint32_t;
typedef unsigned long long uint64_t;

#define DEVICE static __device__ __forceinline__
#define CONSTANT static __constant__ const

/// A kernel, and which of its blocks runs.
#define KERNEL(name) extern "C" __global__ void __launch_bounds__(THREADS) name(const Run run)
#define BLOCK ((int)blockIdx.x)

/// Memory that the threads of a block share, as large as the launch says.
#define SHARED_MEMORY(name)                     \
    extern __shared__ __align__(32) char on_chip[]; \
    real* name = (real*)on_chip

/// Shares out a loop's rounds among the threads of a block. Rounds of one loop must not depend on each other.
#define EACH(index, count) \
    for (int index = (int)threadIdx.x, index##_end = (count); index < index##_end; index += (int)blockDim.x)

/// All threads get here before any goes on, and see what the others wrote.
#define SYNC() __syncthreads()

/// Products and sums that round on their own, whatever the compiler would like to fuse.
DEVICE float times(float a, float b) { return __fmul_rn(a, b); }
DEVICE float plus(float a, float b) { return __fadd_rn(a, b); }

DEVICE float float_of_bits(uint32_t bits) { return __uint_as_float(bits); }
DEVICE uint32_t bits_of_float(float x) { return __float_as_uint(x); }
DEVICE uint32_t high_product(uint32_t a, uint32_t b) { return __umulhi(a, b); }
