//! Single and double precision behind one name, and vectors of either.
//!
//! The engine's formulas are written once, for [`Lanes`]: as many numbers as the processor takes at a time, each of
//! another trial or another unit. Lanes never mix, and every operation is an IEEE operation (`mul_add` rounds
//! once, in software where the processor cannot), so a result does not depend on the instruction set that
//! [`pulp`] picks.

use std::ops::{Add, Div, Mul, Neg, Sub};

use pulp::Simd;
use pulp::bytemuck::{Pod, cast_slice, cast_slice_mut};

/// `f32` or `f64`.
pub(crate) trait Real:
    Pod
    + Default
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + From<f32>
    + Into<f64>
    + Send
    + Sync
    + std::fmt::Debug
    + tch::kind::Element
{
    type Pack<S: Simd>: Pod;
    type Mask<S: Simd>: Copy;

    fn of(value: f64) -> Self;

    fn splat<S: Simd>(simd: S, value: Self) -> Self::Pack<S>;
    fn sum<S: Simd>(simd: S, a: Self::Pack<S>, b: Self::Pack<S>) -> Self::Pack<S>;
    fn difference<S: Simd>(simd: S, a: Self::Pack<S>, b: Self::Pack<S>) -> Self::Pack<S>;
    fn product<S: Simd>(simd: S, a: Self::Pack<S>, b: Self::Pack<S>) -> Self::Pack<S>;
    fn quotient<S: Simd>(simd: S, a: Self::Pack<S>, b: Self::Pack<S>) -> Self::Pack<S>;
    /// a b + c, rounded once.
    fn mul_add<S: Simd>(simd: S, a: Self::Pack<S>, b: Self::Pack<S>, c: Self::Pack<S>) -> Self::Pack<S>;
    fn less<S: Simd>(simd: S, a: Self::Pack<S>, b: Self::Pack<S>) -> Self::Mask<S>;
    fn less_or_equal<S: Simd>(simd: S, a: Self::Pack<S>, b: Self::Pack<S>) -> Self::Mask<S>;
    fn select<S: Simd>(simd: S, mask: Self::Mask<S>, yes: Self::Pack<S>, no: Self::Pack<S>) -> Self::Pack<S>;
    /// eˣ for x ≤ 0.
    fn exp_of_negative<S: Simd>(simd: S, x: Self::Pack<S>) -> Self::Pack<S>;
    /// ln(1 + y) for y in [0, 1].
    fn ln_1p<S: Simd>(simd: S, y: Self::Pack<S>) -> Self::Pack<S>;
    /// Sine and cosine, |x| below 100.
    fn sin_cos<S: Simd>(simd: S, x: Self::Pack<S>) -> (Self::Pack<S>, Self::Pack<S>);
    /// tanh x for |x| ≤ 0.625.
    fn small_tanh<S: Simd>(simd: S, x: Self::Pack<S>) -> Self::Pack<S>;
}

/// Lanes of a pack.
pub(crate) const fn width<S: Simd, T: Real>() -> usize {
    size_of::<T::Pack<S>>() / size_of::<T>()
}

/// A slice as packs. Its length must be a multiple of the width; what is beyond the last whole pack is left out.
#[inline(always)]
pub(crate) fn packs<S: Simd, T: Real>(values: &[T]) -> &[T::Pack<S>] {
    let width = width::<S, T>();
    cast_slice(&values[..values.len() / width * width])
}

#[inline(always)]
pub(crate) fn packs_mut<S: Simd, T: Real>(values: &mut [T]) -> &mut [T::Pack<S>] {
    let width = width::<S, T>();
    let whole = values.len() / width * width;
    cast_slice_mut(&mut values[..whole])
}

/// `[value(0), value(1), …]`.
///
/// The standard library's functions on arrays are not always inlined, and vector operations can only be inlined
/// into functions that are themselves part of [`pulp::Arch::dispatch`]. For the same reason closures that compute
/// with vectors are marked `#[inline(always)]`.
#[inline(always)]
pub(crate) fn each<V: Copy, const N: usize>(mut value: impl FnMut(usize) -> V) -> [V; N] {
    let mut values = [value(0); N];
    for (index, place) in values.iter_mut().enumerate().skip(1) {
        *place = value(index);
    }
    values
}

/// A pack with the operators of numbers. Operators on an `f64` take it for a constant in every lane.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lanes<S: Simd, T: Real> {
    simd: S,
    pub(crate) pack: T::Pack<S>,
}

/// Which lanes a comparison holds in.
#[derive(Clone, Copy)]
pub(crate) struct Where<S: Simd, T: Real> {
    simd: S,
    mask: T::Mask<S>,
}

impl<S: Simd, T: Real> Lanes<S, T> {
    #[inline(always)]
    pub(crate) fn new(simd: S, pack: T::Pack<S>) -> Self {
        Self { simd, pack }
    }

    #[inline(always)]
    pub(crate) fn splat(simd: S, value: f64) -> Self {
        Self::new(simd, T::splat(simd, T::of(value)))
    }

    #[inline(always)]
    pub(crate) fn simd(self) -> S {
        self.simd
    }

    /// The same constant in every lane, like this one's.
    #[inline(always)]
    pub(crate) fn constant(self, value: f64) -> Self {
        Self::splat(self.simd, value)
    }

    /// self · b + c, rounded once.
    #[inline(always)]
    pub(crate) fn mul_add(self, b: Self, c: Self) -> Self {
        Self::new(self.simd, T::mul_add(self.simd, self.pack, b.pack, c.pack))
    }

    #[inline(always)]
    pub(crate) fn less(self, other: Self) -> Where<S, T> {
        Where {
            simd: self.simd,
            mask: T::less(self.simd, self.pack, other.pack),
        }
    }

    #[inline(always)]
    pub(crate) fn less_or_equal(self, other: Self) -> Where<S, T> {
        Where {
            simd: self.simd,
            mask: T::less_or_equal(self.simd, self.pack, other.pack),
        }
    }

    #[inline(always)]
    pub(crate) fn is_positive(self) -> Where<S, T> {
        self.constant(0.0).less(self)
    }

    /// The larger. What is not a number stays so.
    #[inline(always)]
    pub(crate) fn at_least(self, bound: f64) -> Self {
        let bound = self.constant(bound);
        self.less(bound).select(bound, self)
    }

    #[inline(always)]
    pub(crate) fn at_most(self, bound: f64) -> Self {
        let bound = self.constant(bound);
        bound.less(self).select(bound, self)
    }

    /// |x|.
    #[inline(always)]
    pub(crate) fn magnitude(self) -> Self {
        self.is_positive().select(self, -self)
    }

    /// −1, 0 or 1.
    #[inline(always)]
    pub(crate) fn sign(self) -> Self {
        let zero = self.constant(0.0);
        let not_positive = self.less(zero).select(self.constant(-1.0), zero);
        self.is_positive().select(self.constant(1.0), not_positive)
    }

    #[inline(always)]
    pub(crate) fn reciprocal(self) -> Self {
        self.constant(1.0) / self
    }

    /// eˣ for x ≤ 0.
    #[inline(always)]
    pub(crate) fn exp_of_negative(self) -> Self {
        Self::new(self.simd, T::exp_of_negative(self.simd, self.pack))
    }

    /// ln(1 + y) for y in [0, 1].
    #[inline(always)]
    pub(crate) fn ln_1p(self) -> Self {
        Self::new(self.simd, T::ln_1p(self.simd, self.pack))
    }

    #[inline(always)]
    pub(crate) fn sin_cos(self) -> (Self, Self) {
        let (sin, cos) = T::sin_cos(self.simd, self.pack);
        (Self::new(self.simd, sin), Self::new(self.simd, cos))
    }

    /// 1 / (1 + e⁻ˣ).
    #[inline(always)]
    pub(crate) fn sigmoid(self) -> Self {
        let e = (-self.magnitude()).exp_of_negative();
        let of_magnitude = (e + 1.0).reciprocal();
        self.is_positive().select(of_magnitude, e * of_magnitude)
    }

    #[inline(always)]
    pub(crate) fn tanh(self) -> Self {
        let magnitude = self.magnitude();
        let e = (magnitude * -2.0).exp_of_negative();
        let large = (-e + 1.0) / (e + 1.0);
        let large = self.is_positive().select(large, -large);
        let near = self.select_within(0.625);
        let small = Self::new(self.simd, T::small_tanh(self.simd, near.pack));
        magnitude.less(self.constant(0.625)).select(small, large)
    }

    /// This where its magnitude is below the bound, else 0.
    #[inline(always)]
    fn select_within(self, bound: f64) -> Self {
        self.magnitude()
            .less(self.constant(bound))
            .select(self, self.constant(0.0))
    }
}

impl<S: Simd, T: Real> Where<S, T> {
    #[inline(always)]
    pub(crate) fn select(self, yes: Lanes<S, T>, no: Lanes<S, T>) -> Lanes<S, T> {
        Lanes::new(self.simd, T::select(self.simd, self.mask, yes.pack, no.pack))
    }

    /// The value where the comparison holds, else 0.
    #[inline(always)]
    pub(crate) fn keep(self, value: Lanes<S, T>) -> Lanes<S, T> {
        self.select(value, value.constant(0.0))
    }
}

macro_rules! operator {
    ($trait:ident, $method:ident, $function:ident) => {
        impl<S: Simd, T: Real> $trait for Lanes<S, T> {
            type Output = Self;

            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                Self::new(self.simd, T::$function(self.simd, self.pack, other.pack))
            }
        }

        impl<S: Simd, T: Real> $trait<f64> for Lanes<S, T> {
            type Output = Self;

            #[inline(always)]
            fn $method(self, other: f64) -> Self {
                $trait::$method(self, self.constant(other))
            }
        }
    };
}

operator!(Add, add, sum);
operator!(Sub, sub, difference);
operator!(Mul, mul, product);
operator!(Div, div, quotient);

impl<S: Simd, T: Real> Neg for Lanes<S, T> {
    type Output = Self;

    #[inline(always)]
    fn neg(self) -> Self {
        self.constant(0.0) - self
    }
}
