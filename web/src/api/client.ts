/**
 * The coordinator's REST API: one function that fetches, and turns everything that can go wrong into an
 * {@link ApiError} with a sentence for the page.
 */
import type {
  ArtifactList,
  CheckpointKind,
  CheckpointList,
  ExperimentAccepted,
  FieldProblem,
  LogLevel,
  Me,
  PresetList,
  Problem,
  ProblemList,
  Queue,
  RunDetail,
  RunList,
  RunLogs,
  RunMetrics,
  RunState,
  RunSummary,
  WorkerList,
} from "./types";

const PREFIX = "/api/v1";
const TIMEOUT_MS = 20_000;
const READ_ATTEMPTS = 3;
const RETRY_AFTER_MS = 400;

/** A request that failed; `message` is for the page, `code` to branch on. */
export class ApiError extends Error {
  override readonly name = "ApiError";

  constructor(
    message: string,
    /** The problem document's word, or `network`, `timeout`, `unreadable`. */
    readonly code: string,
    /** HTTP status, 0 where there was no answer. */
    readonly status: number,
    /** The fields that are wrong, for a document that was refused. */
    readonly fields: readonly FieldProblem[] = [],
    readonly requestId: string | null = null,
  ) {
    super(message);
  }
}

export interface RunQuery {
  state?: RunState | null;
  q?: string;
  tag?: string | null;
  /** Such as `best_validation` or, greatest first, `-created`. */
  sort?: string;
  limit?: number;
  cursor?: string | null;
}

export interface CurveQuery {
  /** Most points per series: the pixels there are to draw on. */
  points: number;
  /** Batches to show; the whole run where absent. */
  range: { from: number; to: number } | null;
}

export interface LogQuery {
  /** This level and above. */
  level: LogLevel;
  /** In the lines, in whatever case; empty for all. */
  search: string;
  /** Behind this place, or before that one; `end` is the place behind all. */
  after?: string;
  before?: string;
  limit: number;
}

export const api = {
  runs: (query: RunQuery, signal?: AbortSignal) => read<RunList>(`/runs${search({ ...query })}`, signal),
  run: (id: string, signal?: AbortSignal) => read<RunDetail>(`/runs/${encodeURIComponent(id)}`, signal),
  metrics: (id: string, query: CurveQuery, signal?: AbortSignal) =>
    read<RunMetrics>(
      `/runs/${encodeURIComponent(id)}/metrics${search({
        points: query.points,
        from: query.range?.from,
        to: query.range?.to,
      })}`,
      signal,
    ),
  logs: (id: string, query: LogQuery, signal?: AbortSignal) =>
    read<RunLogs>(
      `/runs/${encodeURIComponent(id)}/logs${search({
        level: query.level === "trace" ? null : query.level,
        search: query.search,
        after: query.after,
        before: query.before,
        limit: query.limit,
      })}`,
      signal,
    ),
  checkpoints: (id: string, signal?: AbortSignal) =>
    read<CheckpointList>(`/runs/${encodeURIComponent(id)}/checkpoints`, signal),
  artifacts: (id: string, signal?: AbortSignal) =>
    read<ArtifactList>(`/runs/${encodeURIComponent(id)}/artifacts`, signal),
  /** The content of an artifact that is JSON. */
  document: (artifact: string, signal?: AbortSignal) =>
    read<unknown>(`/artifacts/${encodeURIComponent(artifact)}/content`, signal),
  presets: (signal?: AbortSignal) => read<PresetList>("/presets", signal),
  workers: (signal?: AbortSignal) => read<WorkerList>("/workers", signal),
  openapi: (signal?: AbortSignal) => read<unknown>("/openapi.json", signal),
  problems: (signal?: AbortSignal) => read<ProblemList>("/problems", signal),
  queue: (signal?: AbortSignal) => read<Queue>("/queue", signal),
  cancel: (id: string) => write<RunSummary>(`/runs/${encodeURIComponent(id)}/cancel`),
  pause: (id: string) => write<RunSummary>(`/runs/${encodeURIComponent(id)}/pause`),
  resume: (id: string) => write<RunSummary>(`/runs/${encodeURIComponent(id)}/resume`),
  retry: (id: string) => write<RunSummary>(`/runs/${encodeURIComponent(id)}/retry`),
  submit: (spec: unknown) => write<ExperimentAccepted>("/experiments", spec),
  me: (signal?: AbortSignal) => read<Me>("/me", signal),
  /** Signs this browser in: the coordinator sets a cookie that no script can read. */
  signIn: (token: string) => write<Me>("/session", { token }),
  signOut: () => send<null>("/session", { method: "DELETE", headers: OWN_PAGE }),
};

/** What no page of another origin can send along; the coordinator asks for it with every write. */
const OWN_PAGE = { "x-motif-request": "dashboard" };

type Listener = () => void;
const signedOut = new Set<Listener>();

/** Calls back whenever the coordinator asks who we are. Returns what ends that. */
export function onSignedOut(listener: Listener): () => void {
  signedOut.add(listener);
  return () => signedOut.delete(listener);
}

/** Where the bytes of a run's best or last checkpoint are, whichever that is when they are asked for. */
export function checkpointUrl(run: string, kind: CheckpointKind): string {
  return `${PREFIX}/runs/${encodeURIComponent(run)}/checkpoints/${kind}/content`;
}

/** Where an artifact's bytes are. */
export function artifactUrl(id: string): string {
  return `${PREFIX}/artifacts/${encodeURIComponent(id)}/content`;
}

/** Where the events of one run, or of all runs, are streamed. */
export function eventsUrl(run: string | null): string {
  return run === null ? `${PREFIX}/events` : `${PREFIX}/runs/${encodeURIComponent(run)}/events`;
}

function search(parameters: Record<string, string | number | null | undefined>): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== undefined && value !== null && value !== "") query.set(name, String(value));
  }
  const text = query.toString();
  return text === "" ? "" : `?${text}`;
}

/** Reading is safe to repeat, so a coordinator that is just restarting goes unnoticed. */
async function read<T>(path: string, signal?: AbortSignal): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await send<T>(path, { method: "GET" }, signal);
    } catch (error) {
      const passing =
        error instanceof ApiError &&
        (error.code === "network" || error.status === 502 || error.status === 503);
      if (!passing || attempt === READ_ATTEMPTS) throw error;
      await pause(RETRY_AFTER_MS * attempt, signal);
    }
  }
}

function write<T>(path: string, body?: unknown): Promise<T> {
  return send<T>(
    path,
    body === undefined
      ? { method: "POST", headers: OWN_PAGE }
      : {
          method: "POST",
          headers: { "content-type": "application/json", ...OWN_PAGE },
          body: JSON.stringify(body),
        },
  );
}

async function send<T>(path: string, init: RequestInit, outer?: AbortSignal): Promise<T> {
  const controller = new AbortController();
  const abort = () => {
    controller.abort();
  };
  outer?.addEventListener("abort", abort);
  if (outer?.aborted) abort();
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    abort();
  }, TIMEOUT_MS);
  try {
    const response = await fetch(PREFIX + path, { ...init, signal: controller.signal });
    const text = await response.text();
    if (response.status === 401) for (const tell of signedOut) tell();
    if (!response.ok) throw problemOf(response, text);
    if (response.status === 204) return null as T;
    try {
      return JSON.parse(text) as T;
    } catch {
      throw new ApiError("The coordinator's answer could not be read.", "unreadable", response.status);
    }
  } catch (error) {
    if (error instanceof ApiError || outer?.aborted) throw error;
    if (timedOut) throw new ApiError("The coordinator did not answer in time.", "timeout", 0);
    throw new ApiError("The coordinator cannot be reached.", "network", 0);
  } finally {
    clearTimeout(timer);
    outer?.removeEventListener("abort", abort);
  }
}

function problemOf(response: Response, text: string): ApiError {
  try {
    const problem = JSON.parse(text) as Partial<Problem>;
    if (typeof problem.detail === "string" && typeof problem.code === "string") {
      return new ApiError(
        problem.detail,
        problem.code,
        response.status,
        problem.errors ?? [],
        problem.request_id ?? null,
      );
    }
  } catch {
    // Not a problem document: a proxy's page, perhaps. The status has to do.
  }
  return new ApiError(`The coordinator answered with status ${response.status}.`, "unknown", response.status);
}

function pause(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("Aborted", "AbortError"));
    });
  });
}

/** What to tell a person about a failure, whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : "Something went wrong.";
}

/** Whether a request ended because nobody wants its answer any more. */
export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}
