/**
 * The coordinator's event streams.
 *
 * A browser's EventSource comes back by itself after a cut and sends `Last-Event-ID`, so nothing is missed.
 * Where it gives up for good, or never learnt an id, a new one is opened and the page is told to fetch
 * everything anew.
 */
import { api, eventsUrl } from "./api/client";
import type { Artifact, Checkpoint, LogAppended, MetricsAppended, Rewind, RunSummary } from "./api/types";

/** How a stream is: not there yet, there, or cut and trying again. */
export type StreamState = "connecting" | "live" | "lost";

export interface StreamHandlers {
  /** The stream begins from here: what was before has to be fetched. */
  onStart: () => void;
  onState: (state: StreamState) => void;
  onRun?: (run: RunSummary) => void;
  onMetrics?: (metrics: MetricsAppended) => void;
  onRewind?: (rewind: Rewind) => void;
  onCheckpoint?: (checkpoint: Checkpoint) => void;
  onArtifact?: (artifact: Artifact) => void;
  onLog?: (log: LogAppended) => void;
}

const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 15_000;

/** Follows one run, or all of them where `run` is null. Returns what ends it. */
export function follow(run: string | null, handlers: StreamHandlers): () => void {
  let source: EventSource | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let retryMs = FIRST_RETRY_MS;
  let ended = false;

  const open = () => {
    let resumable = false;
    const opened = new EventSource(eventsUrl(run));
    source = opened;

    const on = <T>(name: string, handle: ((data: T) => void) | undefined) => {
      opened.addEventListener(name, (event: MessageEvent<string>) => {
        if (event.lastEventId !== "") resumable = true;
        const data = parse<T>(event.data);
        if (data !== null) handle?.(data);
      });
    };
    on<RunSummary>("run", handlers.onRun);
    on<MetricsAppended>("metrics", handlers.onMetrics);
    on<Rewind>("rewind", handlers.onRewind);
    on<Checkpoint>("checkpoint", handlers.onCheckpoint);
    on<Artifact>("artifact", handlers.onArtifact);
    on<LogAppended>("log", handlers.onLog);
    on<unknown>("reset", () => {
      handlers.onStart();
    });

    opened.addEventListener("open", () => {
      retryMs = FIRST_RETRY_MS;
      handlers.onState("live");
      if (!resumable) handlers.onStart();
    });
    opened.addEventListener("error", () => {
      handlers.onState("lost");
      if (opened.readyState !== EventSource.CLOSED || ended) return;
      // A stream does not say why it was refused: should nobody be signed in any more, this finds out.
      api.me().catch(() => undefined);
      timer = setTimeout(open, retryMs);
      retryMs = Math.min(retryMs * 2, LONGEST_RETRY_MS);
    });
  };

  handlers.onState("connecting");
  open();
  return () => {
    ended = true;
    clearTimeout(timer);
    source?.close();
  };
}

function parse<T>(text: string): T | null {
  try {
    return JSON.parse(text) as T;
  } catch {
    return null;
  }
}
