import { describe, expect, it } from "vitest";
import type { Curve } from "../../src/charts/curve";
import { drawingOf, readOutLines } from "../../src/charts/lines";
import { inLegendOrder, styleOf, taskLabel } from "../../src/charts/palette";
import { stepScale, valueScale, withOpacity } from "../../src/charts/plot";
import { PAIRS, TASKS } from "../mock/world.js";

const curve = (name: string, steps: number[], more: Partial<Curve> = {}): Curve => ({
  name,
  steps,
  values: steps.map((step) => 1 + step),
  min: null,
  max: null,
  ...more,
});
const plain = { theme: "light", logarithmic: false, smoothing: 0 } as const;

describe("a drawing", () => {
  it("of no points has no lines", () => {
    expect(drawingOf([], plain).lines).toEqual([]);
    expect(drawingOf([curve("loss/total", [])], plain).lines).toEqual([]);
  });

  it("puts series of different steps on one axis", () => {
    const { data } = drawingOf([curve("a", [0, 2]), curve("b", [1, 2])], plain);
    expect(data[0]).toEqual([0, 1, 2]);
    expect(data[1]?.[1]).toBeUndefined();
    expect(data[2]?.[2]).toBe(3);
  });

  it("draws the smoothed line over a faint raw one", () => {
    const { lines } = drawingOf([curve("loss/total", [0, 1])], { ...plain, smoothing: 0.5 });
    expect(lines.map((line) => line.role)).toEqual(["raw", "smoothed"]);
    expect(lines[0]?.opacity).toBeLessThan(0.5);
    expect(readOutLines(lines).map(({ line, column }) => [line.role, column])).toEqual([["smoothed", 2]]);
  });

  it("draws a band where points were reduced", () => {
    const reduced = curve("loss/total", [0, 1], { min: [0, 1], max: [2, 4] });
    const { lines, data } = drawingOf([reduced], plain);
    expect(lines.map((line) => line.role)).toEqual(["low", "high", "raw"]);
    expect(data[2]).toEqual([2, 4]);
  });

  it("leaves a gap at a value that is not finite", () => {
    const { data } = drawingOf([curve("loss/total", [0, 1, 2], { values: [1, Number.NaN, 3] })], plain);
    expect(data[1]).toEqual([1, null, 3]);
  });
});

describe("scales", () => {
  it("show the range asked for, else all, and never nothing", () => {
    expect(stepScale({ from: 5, to: 9 }, 0, 100)).toEqual([5, 9]);
    expect(stepScale(null, 0, 100)).toEqual([0, 100]);
    expect(stepScale(null, 7, 7)).toEqual([6.5, 7.5]);
    expect(stepScale(null, null, null)).toEqual([0, 1]);
  });

  it("leave room around values and keep a logarithmic one above zero", () => {
    const [low, high] = valueScale(0.001, 10, true);
    expect(low).toBeGreaterThan(0);
    expect(low).toBeLessThan(0.001);
    expect(high).toBeGreaterThan(10);
    const [bottom, top] = valueScale(0.5, 0.5, false);
    expect(bottom).toBeLessThan(0.5);
    expect(top).toBeGreaterThan(0.5);
    expect(valueScale(0, 0, false)).toEqual([0, 1]);
  });

  it("never begin just below a power of ten, where ticks would have no end", () => {
    for (let low = 1e-6; low < 100; low *= 1.003) {
      const bottom = Number(valueScale(low, low * 1.5, true)[0]);
      const mantissa = bottom / 10 ** Math.floor(Math.log10(bottom));
      expect(mantissa).toBeLessThan(9.4);
      expect(bottom).toBeLessThanOrEqual(low);
    }
  });
});

describe("the palette", () => {
  it("gives every task its own pair of hue and dash", () => {
    const looks = TASKS.map((task) => styleOf(`validation/${task}`)).map(({ hue, dash }) => `${hue} ${dash}`);
    expect(new Set(looks).size).toBe(TASKS.length);
  });

  it("gives every composable pair its own, and a name for people", () => {
    const styles = PAIRS.map((pair) => styleOf(`validation/${pair}`));
    expect(new Set(styles.map(({ hue, dash }) => `${hue} ${dash}`)).size).toBe(20);
    expect(new Set(styles.map(({ label }) => label)).size).toBe(20);
    expect(taskLabel("forward_halfreach+backward_figure8")).toBe("Half reach + eight");
    expect(taskLabel("something_else")).toBe("something_else");
  });

  it("lists the total first and unknown series last", () => {
    expect(inLegendOrder(["z/own", "loss/rate", "loss/total"])).toEqual(["loss/total", "loss/rate", "z/own"]);
  });

  it("mixes opacity into a colour", () => {
    expect(withOpacity("#0072b2", 0.5)).toBe("rgba(0, 114, 178, 0.5)");
    expect(withOpacity("#0072b2", 1)).toBe("#0072b2");
  });
});
