//! The products that a step needs: rows times a packed matrix, and a sum of outer products.
//!
//! A call to a BLAS packs both factors every time and knows nothing of its neighbours; here the weights are packed
//! once for a whole episode, and a step's rows stay in the cache from product to product. Every entry is one chain
//! of fused multiply-adds over the inner dimension in its order, so it does not depend on how rows and columns are
//! shared out among threads, nor on the size of the tiles.

use std::ops::Range;

use pulp::Simd;

use super::aligned::Aligned;
use super::real::{Real, packs, packs_mut, width};

/// Rows are multiplied in groups of so many; row counts must be multiples of it.
pub(crate) const ROW_GROUP: usize = 8;

/// Columns of a panel: two vectors of the widest instruction set.
pub(crate) const fn panel_width<T>() -> usize {
    128 / size_of::<T>()
}

/// A matrix as the right factor: panels of neighbouring columns, each stored row after row.
#[derive(Debug)]
pub(crate) struct Panels<T> {
    depth: usize,
    columns: usize,
    panel_width: usize,
    values: Aligned<T>,
}

impl<T: Real> Panels<T> {
    /// Zeros; `columns` is rounded up to whole panels.
    pub(crate) fn new(depth: usize, columns: usize) -> Self {
        Self::with_panels(depth, columns, panel_width::<T>())
    }

    /// Zeros, in panels half as wide.
    pub(crate) fn narrow(depth: usize, columns: usize) -> Self {
        Self::with_panels(depth, columns, panel_width::<T>() / 2)
    }

    fn with_panels(depth: usize, columns: usize, panel_width: usize) -> Self {
        let columns = columns.next_multiple_of(panel_width);
        Self {
            depth,
            columns,
            panel_width,
            values: Aligned::zeros(depth * columns),
        }
    }

    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    /// Columns, padding included.
    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    fn place(&self, row: usize, column: usize) -> usize {
        let (panel, within) = (column / self.panel_width, column % self.panel_width);
        (panel * self.depth + row) * self.panel_width + within
    }

    /// Writes a column from a row on.
    pub(crate) fn set_column(&mut self, column: usize, first: usize, values: &[T]) {
        let start = self.place(first, column);
        let places = self.values[start..].iter_mut().step_by(self.panel_width);
        for (place, &value) in places.zip(values) {
            *place = value;
        }
    }

    /// Writes the beginning of a row.
    pub(crate) fn set_row(&mut self, row: usize, values: &[T]) {
        for (panel, values) in values.chunks(self.panel_width).enumerate() {
            let start = self.place(row, panel * self.panel_width);
            self.values[start..start + values.len()].copy_from_slice(values);
        }
    }

    fn panel(&self, which: usize) -> &[T] {
        let size = self.depth * self.panel_width;
        &self.values[which * size..][..size]
    }
}

/// Rows of a matrix that lie `stride` apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows<'a, T> {
    pub values: &'a [T],
    pub stride: usize,
    pub count: usize,
}

/// `out` = `rows` · `matrix`, over the first `depth` numbers of each row and the first `depth` rows of the matrix.
///
/// `out` is row-major with the matrix's columns. Rows come in whole groups.
#[inline(always)]
pub(crate) fn multiply<S: Simd, T: Real>(
    simd: S,
    rows: Rows<'_, T>,
    matrix: &Panels<T>,
    depth: usize,
    out: &mut [T],
) {
    // The accumulators of a tile stay in registers.
    let one_vector = matrix.panel_width == width::<S, T>();
    match (S::REGISTER_COUNT >= 32, one_vector) {
        (true, false) => multiply_in_tiles::<S, T, 8, 2>(simd, rows, matrix, depth, out),
        (true, true) => multiply_in_tiles::<S, T, 8, 1>(simd, rows, matrix, depth, out),
        (false, false) => multiply_in_tiles::<S, T, 4, 2>(simd, rows, matrix, depth, out),
        (false, true) => multiply_in_tiles::<S, T, 4, 1>(simd, rows, matrix, depth, out),
    }
}

/// Tiles of `HEIGHT` rows and `VECTORS` vectors.
#[inline(always)]
fn multiply_in_tiles<S: Simd, T: Real, const HEIGHT: usize, const VECTORS: usize>(
    simd: S,
    rows: Rows<'_, T>,
    matrix: &Panels<T>,
    depth: usize,
    out: &mut [T],
) {
    let panel_width = matrix.panel_width;
    let tile_width = VECTORS * width::<S, T>();
    for column in (0..matrix.columns).step_by(panel_width) {
        let panel = &matrix.panel(column / panel_width)[..depth * panel_width];
        for first in (0..rows.count).step_by(HEIGHT) {
            let rows: [&[T]; HEIGHT] =
                std::array::from_fn(|row| &rows.values[(first + row) * rows.stride..][..depth]);
            for within in (0..panel_width).step_by(tile_width) {
                let mut sums = [[T::splat(simd, T::default()); VECTORS]; HEIGHT];
                for (k, columns) in panel.chunks_exact(panel_width).enumerate() {
                    let columns = packs::<S, T>(&columns[within..within + tile_width]);
                    for (sums, row) in sums.iter_mut().zip(&rows) {
                        let factor = T::splat(simd, row[k]);
                        for (sum, column) in sums.iter_mut().zip(columns) {
                            *sum = T::mul_add(simd, factor, *column, *sum);
                        }
                    }
                }
                for (row, sums) in sums.iter().enumerate() {
                    let start = (first + row) * matrix.columns + column + within;
                    packs_mut::<S, T>(&mut out[start..start + tile_width]).copy_from_slice(sums);
                }
            }
        }
    }
}

/// Inner steps between two visits to the sum in memory.
const SUM_BLOCK: usize = 256;
/// Columns of `left` that are copied side by side.
const STRIP: usize = 8;

/// Copies of the factors of a sum of outer products, in the order in which it reads them.
#[derive(Debug, Default)]
pub(crate) struct Copies<T> {
    /// `[strips, SUM_BLOCK, STRIP]`.
    left: Aligned<T>,
    /// `[SUM_BLOCK, panel]`.
    right: Aligned<T>,
}

/// `out` += `left`ᵀ · `right` for some of the columns of `left`, row-major with `right`'s stride.
///
/// Both have as many rows. `out` has a row for each column of `left` in `columns`, whose ends are multiples of 8.
#[inline(always)]
pub(crate) fn add_outer_products<S: Simd, T: Real>(
    simd: S,
    left: Rows<'_, T>,
    columns: Range<usize>,
    right: Rows<'_, T>,
    copies: &mut Copies<T>,
    out: &mut [T],
) {
    let panel = 2 * width::<S, T>();
    copies.left.reserve(SUM_BLOCK * columns.len());
    copies.right.reserve(SUM_BLOCK * panel);
    for first in (0..left.count).step_by(SUM_BLOCK) {
        let count = SUM_BLOCK.min(left.count - first);
        let of_block = |rows: Rows<'_, T>| first * rows.stride..(first + count) * rows.stride;
        let left_rows = &left.values[of_block(left)];
        let right_rows = &right.values[of_block(right)];
        let strips = copies.left.chunks_exact_mut(count * STRIP);
        for (strip, column) in strips.zip(columns.clone().step_by(STRIP)) {
            copy_columns(left_rows, left.stride, column, strip, STRIP);
        }
        let strips = &copies.left[..count * columns.len()];
        for across in (0..right.stride).step_by(panel) {
            let copied = &mut copies.right[..count * panel];
            copy_columns(right_rows, right.stride, across, copied, panel);
            let out = &mut out[across..];
            if S::REGISTER_COUNT >= 32 {
                add_tiles::<S, T, STRIP>(simd, strips, count, copied, right.stride, out);
            } else {
                add_tiles::<S, T, { STRIP / 2 }>(simd, strips, count, copied, right.stride, out);
            }
        }
    }
}

/// Copies `count` columns from `first` on out of rows that lie `stride` apart.
#[inline(always)]
fn copy_columns<T: Copy>(rows: &[T], stride: usize, first: usize, copy: &mut [T], count: usize) {
    for (copy, row) in copy.chunks_exact_mut(count).zip(rows.chunks_exact(stride)) {
        copy.copy_from_slice(&row[first..first + count]);
    }
}

/// Adds the products of all strips with a panel, in tiles of `HEIGHT` columns of the strips.
#[inline(always)]
fn add_tiles<S: Simd, T: Real, const HEIGHT: usize>(
    simd: S,
    strips: &[T],
    count: usize,
    panel: &[T],
    stride: usize,
    out: &mut [T],
) {
    let panel_width = 2 * width::<S, T>();
    for (strip, out) in strips
        .chunks_exact(count * STRIP)
        .zip(out.chunks_mut(STRIP * stride))
    {
        for first in (0..STRIP).step_by(HEIGHT) {
            let mut sums = [[T::splat(simd, T::default()); 2]; HEIGHT];
            for (left, right) in strip.chunks_exact(STRIP).zip(panel.chunks_exact(panel_width)) {
                let right = packs::<S, T>(right);
                for (sums, &factor) in sums.iter_mut().zip(&left[first..first + HEIGHT]) {
                    let factor = T::splat(simd, factor);
                    for (sum, value) in sums.iter_mut().zip(right) {
                        *sum = T::mul_add(simd, factor, *value, *sum);
                    }
                }
            }
            for (row, sums) in sums.iter().enumerate() {
                let start = (first + row) * stride;
                let out = packs_mut::<S, T>(&mut out[start..start + panel_width]);
                for (out, sum) in out.iter_mut().zip(sums) {
                    *out = T::sum(simd, *out, *sum);
                }
            }
        }
    }
}
