/**
 * Curves as pages keep them: what a query answered, and then what the stream appends.
 *
 * All functions return new curves and leave their arguments alone.
 */
import { measured } from "../api/measured";
import type { SeriesPoints, WireCurve } from "../api/types";

/** One series: `values[i]` was measured at batch `steps[i]`; steps rise strictly. */
export interface Curve {
  readonly name: string;
  readonly steps: readonly number[];
  /** Measured values, or means of buckets; may hold NaN and infinities. */
  readonly values: readonly number[];
  /** Extremes of each bucket, where the coordinator reduced the points. A point by itself is its own. */
  readonly min: readonly number[] | null;
  readonly max: readonly number[] | null;
}

export type Curves = ReadonlyMap<string, Curve>;

/** Batches to show, both ends included. */
export interface StepRange {
  readonly from: number;
  readonly to: number;
}

/** The curves of an answer, by name. */
export function readCurves(answer: readonly WireCurve[]): Curves {
  return new Map(answer.map((curve) => [curve.name, readCurve(curve)]));
}

function readCurve(curve: WireCurve): Curve {
  const reduced = curve.reduced && curve.min && curve.max;
  return {
    name: curve.name,
    steps: curve.steps,
    values: curve.values.map(measured),
    min: reduced ? (curve.min ?? []).map(measured) : null,
    max: reduced ? (curve.max ?? []).map(measured) : null,
  };
}

/**
 * Appends points that are newer than the curve's own. Older ones are already there: a stream that was
 * resumed may tell them again.
 */
export function appendPoints(
  curves: Curves,
  added: readonly SeriesPoints[],
  range: StepRange | null = null,
): Curves {
  const next = new Map(curves);
  for (const points of added) {
    const curve = next.get(points.name) ?? emptyCurve(points.name);
    const last = curve.steps.at(-1) ?? -1;
    const fresh: number[] = [];
    points.steps.forEach((step, i) => {
      if (step > last && (range === null || (step >= range.from && step <= range.to))) fresh.push(i);
    });
    if (fresh.length === 0) continue;
    const steps = fresh.map((i) => points.steps[i] ?? 0);
    const values = fresh.map((i) => measured(points.values[i]));
    next.set(points.name, {
      name: curve.name,
      steps: [...curve.steps, ...steps],
      values: [...curve.values, ...values],
      min: curve.min && [...curve.min, ...values],
      max: curve.max && [...curve.max, ...values],
    });
  }
  return next;
}

function emptyCurve(name: string): Curve {
  return { name, steps: [], values: [], min: null, max: null };
}

/** Drops the points from `nextBatch` on: another attempt computes them anew. */
export function rewindCurves(curves: Curves, nextBatch: number): Curves {
  const next = new Map<string, Curve>();
  for (const [name, curve] of curves) {
    const kept = lowerBound(curve.steps, nextBatch);
    next.set(
      name,
      kept === curve.steps.length
        ? curve
        : {
            name,
            steps: curve.steps.slice(0, kept),
            values: curve.values.slice(0, kept),
            min: curve.min && curve.min.slice(0, kept),
            max: curve.max && curve.max.slice(0, kept),
          },
    );
  }
  return next;
}

/** How many entries of a rising list are less than `value`. */
function lowerBound(rising: readonly number[], value: number): number {
  let low = 0;
  let high = rising.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((rising[middle] ?? 0) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The most points that any of the curves has. */
export function longest(curves: Curves): number {
  return Math.max(0, ...[...curves.values()].map((curve) => curve.steps.length));
}

/**
 * Exponential moving average with the bias of its start taken out, as TensorBoard smooths:
 *
 * ```text
 * m_i = s m_{i-1} + (1 - s) x_i,   y_i = m_i / (1 - s^i)
 * ```
 *
 * `smoothing` s lies in [0, 1). Values that are not finite stay what they are and leave the mean alone.
 */
export function smooth(values: readonly number[], smoothing: number): number[] {
  if (smoothing <= 0) return [...values];
  let mean = 0;
  let weight = 0;
  return values.map((value) => {
    if (!Number.isFinite(value)) return value;
    mean = smoothing * mean + (1 - smoothing) * value;
    weight = smoothing * weight + (1 - smoothing);
    return mean / weight;
  });
}

/** What cannot be drawn: how many values are not finite, and the batch of the first. */
export interface NotFinite {
  readonly count: number;
  readonly first: number;
}

/** Values of a curve that are NaN or infinite. */
export function notFinite(curve: Curve): NotFinite | null {
  let count = 0;
  let first = 0;
  curve.values.forEach((value, i) => {
    if (Number.isFinite(value)) return;
    if (count === 0) first = curve.steps[i] ?? 0;
    count += 1;
  });
  return count === 0 ? null : { count, first };
}

/** Values as the chart takes them: `null`, a gap, where there is nothing that can be drawn on the scale. */
export function drawable(values: readonly number[], logarithmic: boolean): (number | null)[] {
  return values.map((value) => (Number.isFinite(value) && (!logarithmic || value > 0) ? value : null));
}
