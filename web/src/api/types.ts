/** The wire's types, generated from `proto/openapi.json`, under the names that the pages use. */
import type { components } from "./schema";

type Schemas = components["schemas"];

export type Artifact = Schemas["Artifact"];
export type ArtifactList = Schemas["ArtifactList"];
export type Attempt = Schemas["Attempt"];
export type AttemptState = Schemas["AttemptState"];
export type Checkpoint = Schemas["Checkpoint"];
export type CheckpointList = Schemas["CheckpointList"];
export type BaseCheckpoint = Schemas["BaseCheckpoint"];
export type ExperimentAccepted = Schemas["ExperimentAccepted"];
export type FieldProblem = Schemas["FieldProblem"];
export type LogAppended = Schemas["LogAppended"];
export type LogLevel = Schemas["LogLevel"];
export type Me = Schemas["Me"];
export type MetricsAppended = Schemas["MetricsAppended"];
export type PresetGroup = Schemas["PresetGroup"];
export type PresetInfo = Schemas["PresetInfo"];
export type PresetList = Schemas["PresetList"];
export type Problem = Schemas["Problem"];
export type ProblemKind = Schemas["ProblemKind"];
export type ProblemList = Schemas["ProblemList"];
export type Progress = Schemas["Progress"];
export type Queue = Schemas["Queue"];
export type Rewind = Schemas["Rewind"];
export type RunDetail = Schemas["RunDetail"];
export type RunList = Schemas["RunList"];
export type RunLogLine = Schemas["RunLogLine"];
export type RunLogs = Schemas["RunLogs"];
export type RunMetrics = Schemas["RunMetrics"];
export type RunState = Schemas["RunState"];
export type RunSummary = Schemas["RunSummary"];
export type SeriesPoints = Schemas["SeriesPoints"];
export type StepValue = Schemas["StepValue"];
export type WireCurve = Schemas["Curve"];
export type WorkerInfo = Schemas["WorkerInfo"];
export type WorkerList = Schemas["WorkerList"];
