/** The table of an evaluation, from the file that the run made. */

/** One condition: a task at a speed, after a delay. */
export interface Condition {
  readonly task: string;
  /** Index of the speed, 0 the fastest. */
  readonly speed: number;
  /** Steps of 10 ms. */
  readonly delay: number;
  readonly movement: number;
  readonly directions: number;
  /** Mean distance from the goal in metres; `null` where it was not finite. */
  readonly position: number | null;
}

/** A task, and where a task has several delays one of them. */
export interface Row {
  readonly task: string;
  readonly delay: number | null;
  /** One for each speed of the table; `null` where there is no such condition. */
  readonly cells: readonly (Condition | null)[];
  readonly mean: number | null;
}

export interface Evaluation {
  readonly speeds: readonly number[];
  readonly rows: readonly Row[];
  readonly total: number | null;
  /** The least and the greatest distance, for the colours. */
  readonly least: number;
  readonly greatest: number;
}

/** The name of the file that holds the table. */
export const EVALUATION_FILE = "evaluation.json";

/** Reads the file's document; `null` where it holds no such table. */
export function readEvaluation(document: unknown): Evaluation | null {
  if (!isRecord(document) || !Array.isArray(document["conditions"])) return null;
  const conditions = document["conditions"].map(conditionOf);
  if (conditions.length === 0 || !conditions.every((condition) => condition !== null)) return null;
  const speeds = distinct(conditions.map((condition) => condition.speed)).sort((a, b) => a - b);
  const values = conditions.flatMap((condition) => condition.position ?? []);
  return {
    speeds,
    rows: rowsOf(conditions, speeds),
    total: numberOrNull(document["total"]),
    least: Math.min(...values),
    greatest: Math.max(...values),
  };
}

/** From 0 for the table's least distance to 1 for its greatest. */
export function shareOf(position: number, { least, greatest }: Evaluation): number {
  return greatest > least ? (position - least) / (greatest - least) : 0;
}

function rowsOf(conditions: readonly Condition[], speeds: readonly number[]): Row[] {
  return distinct(conditions.map((condition) => condition.task)).flatMap((task) => {
    const own = conditions.filter((condition) => condition.task === task);
    // A delay that is drawn for each speed makes no rows of its own.
    const several = own.length > distinct(own.map((condition) => condition.speed)).length;
    const delays = several ? distinct(own.map((condition) => condition.delay)).sort((a, b) => a - b) : [null];
    return delays.map((delay): Row => {
      const ofDelay = own.filter((condition) => delay === null || condition.delay === delay);
      const cells = speeds.map((speed) => ofDelay.find((condition) => condition.speed === speed) ?? null);
      return { task, delay, cells, mean: meanOf(ofDelay.map((condition) => condition.position)) };
    });
  });
}

function conditionOf(value: unknown): Condition | null {
  if (!isRecord(value) || typeof value["task"] !== "string") return null;
  const whole = (name: string) => (typeof value[name] === "number" ? value[name] : null);
  const [speed, delay, movement] = [whole("speed"), whole("delay"), whole("movement")];
  const directions = whole("directions");
  if (speed === null || delay === null || movement === null || directions === null) return null;
  return {
    task: value["task"],
    speed,
    delay,
    movement,
    directions,
    position: numberOrNull(value["position"]),
  };
}

function meanOf(values: readonly (number | null)[]): number | null {
  let sum = 0;
  for (const value of values) {
    if (value === null) return null;
    sum += value;
  }
  return values.length === 0 ? null : sum / values.length;
}

function numberOrNull(value: unknown): number | null {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

function distinct<T>(values: readonly T[]): T[] {
  return [...new Set(values)];
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
