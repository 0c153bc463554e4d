// The product that a step needs: a block's rows times a matrix.
#pragma once

/// partial[slice, row, column] = Σ left[row, k] matrix[k, column], over the slice's share of k.
///
/// A thread has two columns and all rows of a slice, so every number of the matrix is read once and used for ROWS
/// rows. The sum of the slices, in their order, is the product: it depends neither on ROWS nor on who computes.
/// `columns` and `depth` are multiples of 4, and the matrix has no more columns than its rows are long.
DEVICE void multiply(const real* left, int left_stride, const real* matrix, int columns, int depth, int slices,
                     real* partial) {
    const int pairs = columns / 2, quads = depth / 4;
    EACH(item, pairs * slices) {
        const int pair = item % pairs, slice = item / pairs;
        real sums[ROWS][2];
        for (int row = 0; row < ROWS; row++) sums[row][0] = sums[row][1] = 0;
        const int end = quads * (slice + 1) / slices;
        // Several reads of the matrix on their way at once: a step waits for little else.
#pragma unroll 4
        for (int quad = quads * slice / slices; quad < end; quad++) {
            const real* of_quad = matrix + (size_t)quad * 4 * columns + pair * 2;
            const Two first = load2(of_quad), second = load2(of_quad + columns);
            const Two third = load2(of_quad + 2 * columns), fourth = load2(of_quad + 3 * columns);
#pragma unroll
            for (int row = 0; row < ROWS; row++) {
                const Four factor = load4(left + row * left_stride + quad * 4);
                sums[row][0] += factor.a * first.a;
                sums[row][1] += factor.a * first.b;
                sums[row][0] += factor.b * second.a;
                sums[row][1] += factor.b * second.b;
                sums[row][0] += factor.c * third.a;
                sums[row][1] += factor.c * third.b;
                sums[row][0] += factor.d * fourth.a;
                sums[row][1] += factor.d * fourth.b;
            }
        }
        for (int row = 0; row < ROWS; row++) {
            real* place = partial + (slice * ROWS + row) * columns + pair * 2;
            place[0] = sums[row][0];
            place[1] = sums[row][1];
        }
    }
}

/// The product at a row and column.
DEVICE real product(const real* partial, int columns, int slices, int row, int column) {
    real sum = 0;
    for (int slice = 0; slice < slices; slice++) sum += partial[(slice * ROWS + row) * columns + column];
    return sum;
}
