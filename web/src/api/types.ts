/** The wire's types under the names that the pages use. */
import type { Measured } from "./measured";

export type RunState = "queued" | "running" | "succeeded" | "failed" | "cancelled";
export type AttemptState = "running" | "succeeded" | "failed" | "lost" | "released" | "cancelled";
export interface StepValue {
  step: number;
  value: Measured;
}
export interface Failure {
  class: string;
  message: string;
}
export interface Progress {
  batches_done: number;
  batches_total: number;
  batches_per_second?: number | null;
}
export interface RunSummary {
  id: string;
  experiment: string;
  name: string;
  kind: string;
  preset?: string | null;
  seed: number;
  tags: string[];
  priority: number;
  state: RunState;
  progress: Progress;
  last_loss?: StepValue | null;
  last_validation?: StepValue | null;
  best_validation?: StepValue | null;
  attempts: number;
  worker?: string | null;
  failure?: Failure | null;
  created_at: string;
  started_at?: string | null;
  finished_at?: string | null;
}
export interface Attempt {
  id: string;
  number: number;
  worker: string;
  worker_name: string;
  state: AttemptState;
  first_batch: number;
  started_at: string;
  finished_at?: string | null;
  failure?: Failure | null;
}
export type ExperimentSpec = Record<string, unknown> & {
  training: { batches: number; tasks: string[] };
  network: { hidden: number };
};
export interface RunDetail extends RunSummary {
  spec: ExperimentSpec;
  spec_sha256: string;
  series: string[];
  attempt_history: Attempt[];
}
export interface RunList {
  runs: RunSummary[];
  next_cursor?: string | null;
}
export interface ExperimentAccepted {
  experiment: string;
  run: RunSummary;
  spec: ExperimentSpec;
  spec_sha256: string;
}
export interface Checkpoint {
  id: string;
  run: string;
  attempt: string;
  kind: "best" | "last";
  next_batch: number;
  validation?: number | null;
  sha256: string;
  size_bytes: number;
  created_at: string;
}
export interface CheckpointList {
  checkpoints: Checkpoint[];
}
export interface Queue {
  queued: number;
  running: number;
  succeeded: number;
  failed: number;
  cancelled: number;
}
export interface WireCurve {
  name: string;
  steps: number[];
  values: Measured[];
  min?: Measured[] | null;
  max?: Measured[] | null;
  reduced: boolean;
  count: number;
  last_step?: number | null;
}
export interface RunMetrics {
  run: string;
  series: WireCurve[];
}
export interface SeriesPoints {
  name: string;
  steps: number[];
  values: Measured[];
}
export interface FieldProblem {
  pointer: string;
  detail: string;
  given?: unknown;
  allowed?: string | null;
  nearest?: string | null;
}
export interface Problem {
  type?: string;
  title: string;
  status: number;
  detail: string;
  code: string;
  request_id?: string | null;
  errors?: FieldProblem[];
}
export interface PresetInfo {
  id: string;
  description: string;
  spec: ExperimentSpec;
}
export interface PresetList {
  presets: PresetInfo[];
}
export interface WorkerInfo {
  id: string;
  name: string;
  version: string;
  device: "cpu" | "cuda";
  device_name: string;
  slots: number;
  labels: Record<string, string>;
  alive: boolean;
  runs: string[];
  registered_at: string;
  last_seen_at: string;
}
export interface WorkerList {
  workers: WorkerInfo[];
}
export interface MetricsAppended {
  run: string;
  series: SeriesPoints[];
}
export interface Rewind {
  run: string;
  next_batch: number;
}
