/**
 * A pretend laboratory: runs in every state, and one that trains while it is looked at.
 *
 * Its values are made up but shaped like real ones. It stands in for a coordinator where there is none.
 */
import { createHash } from "node:crypto";

export const TASKS = [
  "DlyHalfReach",
  "DlyHalfCircleClk",
  "DlyHalfCircleCClk",
  "DlySinusoid",
  "DlySinusoidInv",
  "DlyFullReach",
  "DlyFullCircleClk",
  "DlyFullCircleCClk",
  "DlyFigure8",
  "DlyFigure8Inv",
];

/** The twenty composable pairs, in the order of their rules. */
export const PAIRS = ["halfreach", "halfcircleclk", "halfcirclecclk", "sinusoid", "sinusoidinv"].flatMap(
  (forward, i) =>
    ["fullreach", "fullcircleclk", "fullcirclecclk", "figure8", "figure8inv"]
      .filter((_, j) => j !== i)
      .map((backward) => `forward_${forward}+backward_${backward}`),
);

/** @typedef {{ name: string, steps: number[], values: (number | string)[] }} Points */

let made = 0;

/** An id of version 7 that is later than those before. @param {number} at */
function newId(at) {
  made += 1;
  const time = at.toString(16).padStart(12, "0");
  const count = made.toString(16).padStart(12, "0");
  return `${time.slice(0, 8)}-${time.slice(8)}-7000-8000-${count}`;
}

/** @param {number} at */
const instant = (at) => new Date(at).toISOString();

/** Noise that is the same at every start. @param {number} n */
function noise(n) {
  const x = Math.sin(n * 12.9898 + 78.233) * 43758.5453;
  return (x - Math.floor(x)) * 2 - 1;
}

/** @param {number} step */
const lossAt = (step) => 0.075 + 0.5 * Math.exp(-step / 90) + 0.1 * Math.exp(-step / 700);

/** The points of batches `from` to `to`, the latter left out. @param {number} from @param {number} to @param {number} saveEvery @param {readonly string[]} tasks @returns {Points[]} */
export function pointsOf(from, to, saveEvery, tasks = TASKS) {
  const steps = Array.from({ length: to - from }, (_, i) => from + i);
  /** @param {string} name @param {(step: number) => number} value */
  const every = (name, value) => ({ name, steps, values: steps.map(value) });
  const evaluated = steps.filter((step) => (step + 1) % saveEvery === 0);
  /** @param {string} name @param {(step: number) => number} value */
  const atEvaluations = (name, value) => ({ name, steps: evaluated, values: evaluated.map(value) });
  return [
    every("loss/total", (n) => lossAt(n) * (1 + 0.22 * noise(n)) + 0.02),
    every("loss/position", (n) => lossAt(n) * (1 + 0.22 * noise(n))),
    every("loss/rate", (n) => 0.002 + 0.004 * Math.exp(-n / 300) * (1 + 0.1 * noise(n + 0.3))),
    every("loss/weight", (n) => 0.0031 + 0.00002 * n ** 0.5),
    every("loss/muscle", (n) => 0.004 + 0.003 * Math.exp(-n / 500) * (1 + 0.2 * noise(n + 0.7))),
    every("loss/dynamics", (n) => 0.0008 + 0.0004 * Math.exp(-n / 200)),
    every(
      "grad_norm",
      (n) => 0.4 + 2 * Math.exp(-n / 60) * (1 + 0.5 * noise(n + 0.1)) + 0.2 * Math.abs(noise(n)),
    ),
    every("throughput/batches_per_second", (n) => 14.2 + 0.6 * noise(n + 0.2)),
    atEvaluations("validation/total", (n) => 0.96 * lossAt(n)),
    ...tasks.map((task, i) =>
      atEvaluations(
        `validation/${task}`,
        (n) => (0.62 + (0.85 * i) / tasks.length) * lossAt(n) * (1 + 0.05 * noise(n + i)),
      ),
    ),
  ].filter((series) => series.steps.length > 0);
}

/** @param {string} preset @param {number} batches @param {number} saveEvery @param {readonly string[]} tasks */
function specOf(preset, batches, saveEvery, tasks) {
  return {
    network: {
      kind: "rnn",
      hidden: preset === "demo" ? 64 : 256,
      activation: "softplus",
      noise_hidden: 0.1,
      noise_input: 0.01,
      dt_ms: 10,
      time_constant_ms: 20,
    },
    training: {
      batches,
      batch_size: 32,
      learning_rate: 0.001,
      clip: 1,
      save_every: saveEvery,
      tasks,
      losses: { rate: 0.001, weight: 0.001, muscle: 0.01, dynamics: 0.001 },
    },
    resources: { device: "any", slots: 1, labels: {} },
  };
}

/** @typedef {ReturnType<typeof newRun>} Run */

/**
 * @param {{ name: string, preset: string, seed: number, batches: number, saveEvery: number, ageMs: number, tags?: string[], kind?: string, tasks?: readonly string[], base?: any }} about
 */
export function newRun(about) {
  const now = Date.now();
  const tasks = about.tasks ?? TASKS;
  const spec = specOf(about.preset, about.batches, about.saveEvery, tasks);
  const id = newId(now - about.ageMs);
  return {
    summary: /** @type {any} */ ({
      id,
      experiment: newId(now - about.ageMs),
      name: about.name,
      kind: about.kind ?? "train",
      preset: about.preset,
      seed: about.seed,
      tags: about.tags ?? [],
      priority: 0,
      state: "queued",
      progress: { batches_done: 0, batches_total: about.batches },
      attempts: 0,
      created_at: instant(now - about.ageMs),
    }),
    spec: {
      kind: about.kind ?? "train",
      name: about.name,
      preset: about.preset,
      seed: about.seed,
      tags: about.tags ?? [],
      priority: 0,
      ...spec,
      ...(about.kind === "evaluate" ? { training: undefined, evaluation: { tasks } } : {}),
    },
    base: about.base && baseOf(about.base),
    tasks,
    saveEvery: about.saveEvery,
    /** @type {any[]} */
    attempts: [],
    /** @type {Map<string, Points>} */
    series: new Map(),
    /** @type {any[]} */
    checkpoints: [],
    /** @type {any[]} */
    artifacts: [],
  };
}

/** What another run starts from. @param {any} run */
function baseOf(run) {
  const checkpoint = run.checkpoints.find((/** @type {any} */ each) => each.kind === "best");
  return {
    checkpoint: checkpoint.id,
    run: run.summary.id,
    run_name: run.summary.name,
    kind: checkpoint.kind,
    next_batch: checkpoint.next_batch,
    sha256: checkpoint.sha256,
    size_bytes: checkpoint.size_bytes,
  };
}

/** The table of an evaluation, slower movements better. @param {readonly string[]} tasks */
export function evaluationOf(tasks) {
  const conditions = tasks.flatMap((task, i) =>
    Array.from({ length: 10 }, (_, speed) => ({
      task,
      speed,
      delay: [25, 50, 75][(i + speed) % 3],
      movement: (i < 5 ? 50 : 100) + (i < 5 ? 10 : 20) * speed,
      directions: 32,
      position: (0.012 + 0.0011 * i) * (1.5 - 0.06 * speed) * (1 + 0.08 * noise(i + 10 * speed)),
    })),
  );
  const total = conditions.reduce((sum, { position }) => sum + position, 0) / conditions.length;
  return { total, conditions };
}

/** Measures a network: the table as files, its mean as a series. @param {Run} run */
function evaluate(run) {
  const table = evaluationOf(run.tasks);
  append(run, [{ name: "validation/total", steps: [0], values: [table.total] }]);
  run.summary.last_validation = { step: 0, value: table.total };
  const lines = table.conditions.map((each) => [each.task, each.speed, each.position].join(","));
  run.artifacts = Object.entries({
    "evaluation.csv": ["task,speed,position_m", ...lines].join("\n"),
    "evaluation.json": JSON.stringify(table),
  }).map(([name, text]) => ({
    id: newId(Date.now()),
    run: run.summary.id,
    attempt: run.attempts.at(-1)?.id ?? newId(0),
    name,
    sha256: createHash("sha256").update(text).digest("hex"),
    size_bytes: text.length,
    created_at: instant(Date.now()),
    content: Buffer.from(text),
  }));
}

/** @param {Run} run @param {string} worker @param {number} ageMs */
export function claim(run, worker, ageMs) {
  const at = instant(Date.now() - ageMs);
  run.summary.state = "running";
  run.summary.attempts += 1;
  run.summary.worker = worker;
  run.summary.started_at ??= at;
  run.attempts.push({
    id: newId(Date.now()),
    number: run.summary.attempts,
    worker: newId(0),
    worker_name: worker,
    state: "running",
    first_batch: run.summary.progress.batches_done,
    started_at: at,
  });
}

/** Trains a run by some batches and tells what that changed. @param {Run} run @param {number} batches */
export function train(run, batches) {
  const from = run.summary.progress.batches_done;
  const to = Math.min(from + batches, run.summary.progress.batches_total);
  const added = pointsOf(from, to, run.saveEvery, run.tasks);
  append(run, added);
  run.summary.progress = { ...run.summary.progress, batches_done: to, batches_per_second: 14.2 };
  const total = added.find((series) => series.name === "loss/total");
  const value = total?.values.at(-1);
  if (value !== undefined) run.summary.last_loss = { step: to - 1, value };
  const checkpoints = validated(run, added);
  return { added, checkpoints };
}

/** @param {Run} run @param {Points[]} added */
export function append(run, added) {
  for (const { name, steps, values } of added) {
    const series = run.series.get(name) ?? { name, steps: [], values: [] };
    for (const step of steps) series.steps.push(step);
    for (const value of values) series.values.push(value);
    run.series.set(name, series);
  }
}

/** @param {Run} run @param {Points[]} added */
function validated(run, added) {
  const series = added.find(({ name }) => name === "validation/total");
  if (!series) return [];
  const step = series.steps.at(-1) ?? 0;
  const value = Number(series.values.at(-1));
  run.summary.last_validation = { step, value };
  const best = run.summary.best_validation;
  const kinds = ["last"];
  if (!best || value < Number(best.value)) {
    run.summary.best_validation = { step, value };
    kinds.push("best");
  }
  return kinds.map((kind) => {
    const content = contentOf(run.summary.id, kind, step);
    const checkpoint = {
      id: newId(Date.now()),
      run: run.summary.id,
      attempt: run.attempts.at(-1)?.id ?? newId(0),
      kind,
      next_batch: step + 1,
      validation: value,
      sha256: createHash("sha256").update(content).digest("hex"),
      size_bytes: content.length,
      created_at: instant(Date.now()),
      content,
    };
    run.checkpoints = [checkpoint, ...run.checkpoints.filter((other) => other.kind !== kind)];
    return checkpoint;
  });
}

/** @param {string} id @param {string} kind @param {number} step */
function contentOf(id, kind, step) {
  return Buffer.alloc(68_424, `${id} ${kind} ${step} `);
}

/** @param {Run} run @param {"succeeded" | "failed" | "cancelled"} state @param {{ class: string, message: string } | null} failure */
export function finish(run, state, failure = null) {
  const at = instant(Date.now());
  run.summary.state = state;
  run.summary.finished_at = at;
  delete run.summary.worker;
  const attempt = run.attempts.at(-1);
  if (attempt) Object.assign(attempt, { state, finished_at: at });
  if (failure) {
    run.summary.failure = failure;
    if (attempt) attempt.failure = failure;
  }
}

/** A person's wish. @param {Run} run @param {"pause" | "resume" | "retry"} wish */
export function steer(run, wish) {
  const { summary } = run;
  if (wish === "pause" && summary.state === "running") summary.pausing = true;
  else if (wish === "pause") summary.state = "paused";
  else if (summary.pausing) delete summary.pausing;
  else {
    summary.state = "queued";
    for (const gone of ["failure", "finished_at", "not_before"]) delete summary[gone];
  }
}

/** The worker hands the run back, as it was asked to. @param {Run} run */
export function handBack(run) {
  run.summary.state = "paused";
  delete run.summary.pausing;
  delete run.summary.worker;
  Object.assign(run.attempts.at(-1), { state: "released", finished_at: instant(Date.now()) });
}

/** The runs that the mock begins with, newest first. */
export function firstRuns() {
  const minute = 60_000;
  const demo = { preset: "demo", batches: 600, saveEvery: 25 };
  const paper = { preset: "train_rnn256_softplus", batches: 75_000, saveEvery: 500 };

  const training = newRun({ name: "demo", seed: 0, ageMs: 40_000, tags: ["demo"], ...demo });
  claim(training, "local", 15_000);
  train(training, 240);

  const waiting = newRun({
    name: "rnn256-softplus seed 4",
    seed: 4,
    ageMs: 3 * minute,
    tags: ["paper"],
    ...paper,
  });

  const resumed = newRun({
    name: "rnn256-softplus seed 3",
    seed: 3,
    ageMs: 190 * minute,
    tags: ["paper"],
    ...paper,
  });
  claim(resumed, "gpu-01", 180 * minute);
  train(resumed, 21_000);
  Object.assign(resumed.attempts[0], { state: "lost", finished_at: instant(Date.now() - 60 * minute) });
  claim(resumed, "gpu-02", 50 * minute);
  train(resumed, 13_420);

  const done = newRun({
    name: "relu baseline",
    seed: 1,
    ageMs: 26 * 60 * minute,
    preset: "train_rnn128_relu",
    batches: 5000,
    saveEvery: 100,
  });
  claim(done, "gpu-01", 25 * 60 * minute);
  train(done, 5000);
  finish(done, "succeeded");

  const diverged = newRun({
    name: "tanh without clipping",
    seed: 7,
    ageMs: 30 * 60 * minute,
    preset: "train_rnn256_tanh",
    batches: 5000,
    saveEvery: 100,
  });
  claim(diverged, "gpu-02", 29 * 60 * minute);
  train(diverged, 312);
  append(diverged, [{ name: "loss/total", steps: [312, 313], values: ["Infinity", "NaN"] }]);
  diverged.summary.last_loss = { step: 313, value: "NaN" };
  finish(diverged, "failed", { class: "diverged", message: "loss/total is not finite at batch 312" });

  const cancelled = newRun({
    name: "too wide",
    seed: 0,
    ageMs: 50 * 60 * minute,
    preset: "train_rnn512_relu",
    batches: 75_000,
    saveEvery: 500,
  });
  claim(cancelled, "local", 49 * 60 * minute);
  train(cancelled, 900);
  finish(cancelled, "cancelled");

  const transferred = newRun({
    name: "pairs on relu",
    kind: "transfer",
    seed: 0,
    ageMs: 20 * 60 * minute,
    preset: "run_train_compositional_env_base_model",
    batches: 2000,
    saveEvery: 50,
    tasks: PAIRS,
    base: done,
  });
  claim(transferred, "gpu-01", 19 * 60 * minute);
  train(transferred, 2000);
  finish(transferred, "succeeded");

  const evaluated = newRun({
    name: "relu measured",
    kind: "evaluate",
    seed: 0,
    ageMs: 18 * 60 * minute,
    preset: "",
    batches: 0,
    saveEvery: 1,
    base: done,
  });
  claim(evaluated, "gpu-01", 18 * 60 * minute);
  evaluate(evaluated);
  finish(evaluated, "succeeded");

  const held = newRun({ name: "held back", seed: 2, ageMs: 22 * 60 * minute, ...paper });
  claim(held, "gpu-01", 21 * 60 * minute);
  train(held, 4_000);
  handBack(held);

  const backingOff = newRun({ name: "tried again", seed: 5, ageMs: 23 * 60 * minute, ...paper });
  claim(backingOff, "gpu-02", 22 * 60 * minute);
  finish(backingOff, "failed", { class: "internal", message: "CUDA error: an illegal memory access" });
  Object.assign(backingOff.summary, { state: "queued", not_before: instant(Date.now() + 45_000) });
  for (const gone of ["failure", "finished_at"]) delete backingOff.summary[gone];

  const runs = [
    training,
    waiting,
    resumed,
    evaluated,
    transferred,
    held,
    backingOff,
    done,
    diverged,
    cancelled,
  ];
  return { runs, training };
}

export const WORKERS = ["local", "gpu-01", "gpu-02"].map((name, i) => ({
  id: newId(i),
  name,
  version: "0.1.0",
  device: i === 0 ? "cpu" : "cuda",
  device_name: i === 0 ? "2 CPU cores" : "NVIDIA H100",
  slots: i === 0 ? 1 : 2,
  labels: {},
  alive: true,
  ...(name === "gpu-02"
    ? {
        set_aside: {
          reason: "2 runs failed here and went well on other workers",
          since: instant(Date.now() - 6e5),
        },
      }
    : {}),
  registered_at: instant(Date.now() - 1e7),
}));
