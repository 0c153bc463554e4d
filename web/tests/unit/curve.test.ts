import { describe, expect, it } from "vitest";
import {
  appendPoints,
  type Curve,
  drawable,
  longest,
  notFinite,
  readCurves,
  rewindCurves,
  smooth,
} from "../../src/charts/curve";
import type { WireCurve } from "../../src/api/types";

const wire = (more: Partial<WireCurve> = {}): WireCurve => ({
  name: "loss/total",
  steps: [0, 1, 2],
  values: [3, 2, 1],
  reduced: false,
  count: 3,
  last_step: 2,
  ...more,
});

function curveOf(curves: ReadonlyMap<string, Curve>, name = "loss/total"): Curve {
  const curve = curves.get(name);
  if (curve === undefined) throw new Error(`no curve ${name}`);
  return curve;
}

describe("reading curves", () => {
  it("takes the words for what JSON cannot write as numbers", () => {
    const curve = curveOf(readCurves([wire({ values: ["NaN", "Infinity", "-Infinity"] as never })]));
    expect(curve.values).toEqual([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]);
  });

  it("keeps extremes only of reduced curves", () => {
    expect(curveOf(readCurves([wire()])).min).toBeNull();
    const reduced = curveOf(readCurves([wire({ reduced: true, min: [1, 1, 0], max: [9, 3, 2] })]));
    expect(reduced.min).toEqual([1, 1, 0]);
    expect(reduced.max).toEqual([9, 3, 2]);
  });
});

describe("appending points", () => {
  it("adds what is newer and leaves out what is there already", () => {
    const next = appendPoints(readCurves([wire()]), [
      { name: "loss/total", steps: [1, 2, 3, 4], values: [8, 8, 0.5, 0.25] },
    ]);
    expect(curveOf(next).steps).toEqual([0, 1, 2, 3, 4]);
    expect(curveOf(next).values).toEqual([3, 2, 1, 0.5, 0.25]);
  });

  it("begins a series that was not there", () => {
    const next = appendPoints(new Map(), [{ name: "grad_norm", steps: [0], values: [0.4] }]);
    expect(curveOf(next, "grad_norm").values).toEqual([0.4]);
  });

  it("makes a point its own extremes in a reduced curve", () => {
    const before = readCurves([wire({ reduced: true, min: [1, 1, 0], max: [9, 3, 2] })]);
    const next = curveOf(appendPoints(before, [{ name: "loss/total", steps: [7], values: [0.5] }]));
    expect(next.min).toEqual([1, 1, 0, 0.5]);
    expect(next.max).toEqual([9, 3, 2, 0.5]);
  });

  it("leaves out what lies beyond the range shown", () => {
    const added = [{ name: "loss/total", steps: [3, 4], values: [0.5, 0.25] }];
    expect(curveOf(appendPoints(readCurves([wire()]), added, { from: 0, to: 3 })).steps).toEqual([
      0, 1, 2, 3,
    ]);
  });

  it("changes nothing in the curves that it was given", () => {
    const before = readCurves([wire()]);
    appendPoints(before, [{ name: "loss/total", steps: [3], values: [0] }]);
    expect(curveOf(before).steps).toEqual([0, 1, 2]);
  });
});

describe("rewinding", () => {
  it("drops the points from the batch on, with their extremes", () => {
    const before = readCurves([wire({ steps: [0, 10, 20], reduced: true, min: [1, 1, 0], max: [9, 3, 2] })]);
    const next = curveOf(rewindCurves(before, 10));
    expect(next.steps).toEqual([0]);
    expect(next.max).toEqual([9]);
  });

  it("then takes the same batches again from the next attempt", () => {
    const rewound = rewindCurves(readCurves([wire()]), 1);
    const next = appendPoints(rewound, [{ name: "loss/total", steps: [1, 2], values: [2.5, 1.5] }]);
    expect(curveOf(next).values).toEqual([3, 2.5, 1.5]);
  });

  it("to the start leaves no points", () => {
    expect(longest(rewindCurves(readCurves([wire()]), 0))).toBe(0);
  });
});

describe("smoothing", () => {
  it("of nothing changes nothing", () => {
    expect(smooth([3, 1, 2], 0)).toEqual([3, 1, 2]);
  });

  it("keeps a constant constant from the first point on", () => {
    for (const value of smooth([4, 4, 4, 4], 0.9)) expect(value).toBeCloseTo(4, 12);
  });

  it("is the weighted mean of all values so far", () => {
    const [first, second] = smooth([1, 0], 0.5);
    expect(first).toBeCloseTo(1, 12);
    expect(second).toBeCloseTo(1 / 3, 12);
  });

  it("goes on after a value that is not finite", () => {
    const smoothed = smooth([1, Number.NaN, 1], 0.5);
    expect(smoothed[1]).toBeNaN();
    expect(smoothed[2]).toBeCloseTo(1, 12);
  });
});

describe("what cannot be drawn", () => {
  it("is a gap: not finite on any scale, not positive on a logarithmic one", () => {
    const values = [1, Number.NaN, Number.POSITIVE_INFINITY, 0, -1];
    expect(drawable(values, false)).toEqual([1, null, null, 0, -1]);
    expect(drawable(values, true)).toEqual([1, null, null, null, null]);
  });

  it("is counted, and the first batch named", () => {
    const curve = curveOf(readCurves([wire({ steps: [4, 5, 6], values: [1, "NaN", "Infinity"] as never })]));
    expect(notFinite(curve)).toEqual({ count: 2, first: 5 });
    expect(notFinite(curveOf(readCurves([wire()])))).toBeNull();
  });
});
