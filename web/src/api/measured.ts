/**
 * Values that a run measured. JSON has no NaN and no infinities, so these travel as strings.
 */
export type Measured = number | "NaN" | "Infinity" | "-Infinity";

/** The number that a measured value stands for. What is neither a number nor a known word is NaN. */
export function measured(value: unknown): number {
  if (typeof value === "number") return value;
  if (value === "Infinity") return Number.POSITIVE_INFINITY;
  if (value === "-Infinity") return Number.NEGATIVE_INFINITY;
  return Number.NaN;
}
