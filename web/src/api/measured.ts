/**
 * The number that a measured value stands for.
 *
 * JSON has no NaN and no infinities, so these travel as the words `NaN`, `Infinity` and `-Infinity`.
 * What is neither a number nor one of the words is NaN.
 */
export function measured(value: unknown): number {
  if (typeof value === "number") return value;
  if (value === "Infinity") return Number.POSITIVE_INFINITY;
  if (value === "-Infinity") return Number.NEGATIVE_INFINITY;
  return Number.NaN;
}
