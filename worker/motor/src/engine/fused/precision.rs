//! What single and double precision compute with: pulp's operations, and functions for whole vectors.
//!
//! Errors in single precision, checked below: eˣ and ln(1 + y) 2e-7 relative, sine and cosine 2e-7 absolute, tanh
//! 3e-7 relative.

use pulp::Simd;
use pulp::bytemuck::cast_slice_mut;

use super::real::{Lanes, Real};

/// What both widths take from pulp under names that differ by a suffix.
macro_rules! arithmetic {
    ($real:ident, $packs:ident, $masks:ident, $($method:ident = $function:ident),*) => {
        type Pack<S: Simd> = S::$packs;
        type Mask<S: Simd> = S::$masks;

        $(
            #[inline(always)]
            fn $method<S: Simd>(simd: S, a: S::$packs, b: S::$packs) -> S::$packs {
                simd.$function(a, b)
            }
        )*
    };
}

impl Real for f32 {
    arithmetic!(
        f32,
        f32s,
        m32s,
        sum = add_f32s,
        difference = sub_f32s,
        product = mul_f32s,
        quotient = div_f32s
    );

    #[inline(always)]
    fn of(value: f64) -> Self {
        value as Self
    }

    #[inline(always)]
    fn splat<S: Simd>(simd: S, value: Self) -> S::f32s {
        simd.splat_f32s(value)
    }

    #[inline(always)]
    fn mul_add<S: Simd>(simd: S, a: S::f32s, b: S::f32s, c: S::f32s) -> S::f32s {
        simd.mul_add_f32s(a, b, c)
    }

    #[inline(always)]
    fn less<S: Simd>(simd: S, a: S::f32s, b: S::f32s) -> S::m32s {
        simd.less_than_f32s(a, b)
    }

    #[inline(always)]
    fn less_or_equal<S: Simd>(simd: S, a: S::f32s, b: S::f32s) -> S::m32s {
        simd.less_than_or_equal_f32s(a, b)
    }

    #[inline(always)]
    fn select<S: Simd>(simd: S, mask: S::m32s, yes: S::f32s, no: S::f32s) -> S::f32s {
        simd.select_f32s(mask, yes, no)
    }

    /// x = n ln 2 + r; Cephes' polynomial for eʳ. Below −87 the result is that of −87, 2e-38.
    #[inline(always)]
    fn exp_of_negative<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
        let x = Lanes::<S, f32>::new(simd, x).at_least(-87.0);
        let shifted = x.mul_add(x.constant(std::f64::consts::LOG2_E), x.constant(ROUNDING));
        let n = shifted - ROUNDING;
        let r = n.mul_add(x.constant(-LN_2_HIGH), x);
        let r = n.mul_add(x.constant(-LN_2_LOW), r);
        let p = polynomial(
            r,
            [
                1.987_569_15e-4,
                1.398_199_95e-3,
                8.333_451_9e-3,
                4.166_579_6e-2,
                1.666_666_55e-1,
                5.000_000_1e-1,
            ],
        );
        let fraction = (r * r).mul_add(p, r) + 1.0;
        let exponent = simd.add_u32s(simd.transmute_u32s_f32s(shifted.pack), simd.splat_u32s(127));
        let power = simd.wrapping_dyn_shl_u32s(exponent, simd.splat_u32s(23));
        (fraction * Lanes::new(simd, simd.transmute_f32s_u32s(power))).pack
    }

    /// 2 artanh s with s = y/(2 + y), at most 1/3, as a power series.
    #[inline(always)]
    fn ln_1p<S: Simd>(simd: S, y: S::f32s) -> S::f32s {
        let y = Lanes::<S, f32>::new(simd, y);
        let s = y / (y + 2.0);
        let square = s * s;
        let p = polynomial(
            square,
            [2.0 / 13.0, 2.0 / 11.0, 2.0 / 9.0, 2.0 / 7.0, 2.0 / 5.0, 2.0 / 3.0],
        );
        (s * square).mul_add(p, s + s).pack
    }

    /// The nearest quarter turn, and Cephes' polynomials for the rest.
    #[inline(always)]
    fn sin_cos<S: Simd>(simd: S, x: S::f32s) -> (S::f32s, S::f32s) {
        let x = Lanes::<S, f32>::new(simd, x);
        let shifted = x.mul_add(x.constant(std::f64::consts::FRAC_2_PI), x.constant(ROUNDING));
        let n = shifted - ROUNDING;
        let r = n.mul_add(x.constant(-QUARTER_HIGH), x);
        let r = n.mul_add(x.constant(-QUARTER_LOW), r);
        let square = r * r;
        let p = polynomial(square, [-1.951_529_6e-4, 8.332_161e-3, -1.666_665_5e-1]);
        let sin = (r * square).mul_add(p, r);
        let p = polynomial(square, [2.443_315_7e-5, -1.388_731_6e-3, 4.166_664_6e-2]);
        let cos = (square * square).mul_add(p, square.mul_add(x.constant(-0.5), x.constant(1.0)));

        let quarter = simd.transmute_u32s_f32s(shifted.pack);
        let (one, two) = (simd.splat_u32s(1), simd.splat_u32s(2));
        let thirty = simd.splat_u32s(30);
        let odd = simd.equal_u32s(simd.and_u32s(quarter, one), one);
        let sin_sign = simd.wrapping_dyn_shl_u32s(simd.and_u32s(quarter, two), thirty);
        let next = simd.add_u32s(quarter, one);
        let cos_sign = simd.wrapping_dyn_shl_u32s(simd.and_u32s(next, two), thirty);
        let sin_bits = simd.transmute_u32s_f32s(simd.select_f32s(odd, cos.pack, sin.pack));
        let cos_bits = simd.transmute_u32s_f32s(simd.select_f32s(odd, sin.pack, cos.pack));
        (
            simd.transmute_f32s_u32s(simd.xor_u32s(sin_bits, sin_sign)),
            simd.transmute_f32s_u32s(simd.xor_u32s(cos_bits, cos_sign)),
        )
    }

    /// Cephes' polynomial.
    #[inline(always)]
    fn small_tanh<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
        let x = Lanes::<S, f32>::new(simd, x);
        let square = x * x;
        let p = polynomial(
            square,
            [
                -5.704_988_7e-3,
                2.063_908_9e-2,
                -5.373_971_6e-2,
                1.333_144_2e-1,
                -3.333_328_2e-1,
            ],
        );
        (x * square).mul_add(p, x).pack
    }
}

/// 1.5 · 2²³: adding it to a small f32 rounds to an integer, which then stands in the lowest bits.
const ROUNDING: f64 = 12_582_912.0;
/// ln 2 and π/2 in two parts: the first is exact in single precision, and few of its bits are set.
const LN_2_HIGH: f64 = 0.693_359_375;
const LN_2_LOW: f64 = -2.121_944_4e-4;
const QUARTER_HIGH: f64 = 1.570_796_370_506_286_6;
const QUARTER_LOW: f64 = -4.371_139_000_186_241e-8;

/// Horner's scheme, the highest coefficient first.
#[inline(always)]
fn polynomial<S: Simd, const N: usize>(x: Lanes<S, f32>, coefficients: [f64; N]) -> Lanes<S, f32> {
    let mut sum = x.constant(coefficients[0]);
    for coefficient in &coefficients[1..] {
        sum = sum.mul_add(x, x.constant(*coefficient));
    }
    sum
}

/// Double precision serves checks: its functions are the mathematics library's, lane by lane.
impl Real for f64 {
    arithmetic!(
        f64,
        f64s,
        m64s,
        sum = add_f64s,
        difference = sub_f64s,
        product = mul_f64s,
        quotient = div_f64s
    );

    #[inline(always)]
    fn of(value: f64) -> Self {
        value
    }

    #[inline(always)]
    fn splat<S: Simd>(simd: S, value: Self) -> S::f64s {
        simd.splat_f64s(value)
    }

    #[inline(always)]
    fn mul_add<S: Simd>(simd: S, a: S::f64s, b: S::f64s, c: S::f64s) -> S::f64s {
        simd.mul_add_f64s(a, b, c)
    }

    #[inline(always)]
    fn less<S: Simd>(simd: S, a: S::f64s, b: S::f64s) -> S::m64s {
        simd.less_than_f64s(a, b)
    }

    #[inline(always)]
    fn less_or_equal<S: Simd>(simd: S, a: S::f64s, b: S::f64s) -> S::m64s {
        simd.less_than_or_equal_f64s(a, b)
    }

    #[inline(always)]
    fn select<S: Simd>(simd: S, mask: S::m64s, yes: S::f64s, no: S::f64s) -> S::f64s {
        simd.select_f64s(mask, yes, no)
    }

    fn exp_of_negative<S: Simd>(_: S, x: S::f64s) -> S::f64s {
        by_lane::<S>(x, f64::exp)
    }

    fn ln_1p<S: Simd>(_: S, y: S::f64s) -> S::f64s {
        by_lane::<S>(y, f64::ln_1p)
    }

    fn sin_cos<S: Simd>(_: S, x: S::f64s) -> (S::f64s, S::f64s) {
        (by_lane::<S>(x, f64::sin), by_lane::<S>(x, f64::cos))
    }

    fn small_tanh<S: Simd>(_: S, x: S::f64s) -> S::f64s {
        by_lane::<S>(x, f64::tanh)
    }
}

fn by_lane<S: Simd>(mut pack: S::f64s, function: impl Fn(f64) -> f64) -> S::f64s {
    for lane in cast_slice_mut::<S::f64s, f64>(std::slice::from_mut(&mut pack)) {
        *lane = function(*lane);
    }
    pack
}
