/**
 * Everything that a run's page shows, loaded once and then kept up to date from the run's stream.
 *
 * The stream is opened first and the curves are fetched when it stands, so that nothing is missed between
 * the two. What the stream says while a fetch is under way is applied to its answer; points that the answer
 * holds already are recognised by their step.
 */
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { api, type ApiError, isAbort, messageOf } from "../../api/client";
import type { Artifact, Checkpoint, RunDetail, RunSummary } from "../../api/types";
import {
  appendPoints,
  type Curves,
  longest,
  readCurves,
  rewindCurves,
  type StepRange,
} from "../../charts/curve";
import { follow, type StreamState } from "../../live";

/** The stream may be kept from us by a proxy; the page then shows what there is without it. */
const LOAD_WITHOUT_STREAM_MS = 1_500;
const REFETCH_PAUSE_MS = 400;
/** Live points make a curve longer than was asked for; at so many times that it is reduced anew. */
const MOST_GROWTH = 3;

/** Parts of a summary that come and go. */
const GONE = { pausing: false, not_before: null, failure: null, finished_at: null, worker: null } as const;

export interface RunState {
  /** `null` until the first answer. */
  detail: RunDetail | null;
  curves: Curves | null;
  checkpoints: readonly Checkpoint[];
  artifacts: readonly Artifact[];
  /** Changes whenever the log may have more lines; `null` until everything was loaded once. */
  logEnd: string | null;
  error: string | null;
  notFound: boolean;
  stream: StreamState;
  reload: () => void;
}

type CurveChange = (curves: Curves) => Curves;

/** `points` says how many pixels there are to draw on, at the moment of asking. */
export function useRun(id: string, range: StepRange | null, points: () => number): RunState {
  const [detail, setDetail] = useState<RunDetail | null>(null);
  const [curves, setCurves] = useState<Curves | null>(null);
  const [checkpoints, setCheckpoints] = useState<readonly Checkpoint[]>([]);
  const [artifacts, setArtifacts] = useState<readonly Artifact[]>([]);
  const [logEnd, setLogEnd] = useState<string | null>(null);
  const [error, setError] = useState<string | null>(null);
  const [notFound, setNotFound] = useState(false);
  const [stream, setStream] = useState<StreamState>("connecting");
  /** Counts the reasons to fetch everything; 0 is before the stream stands. */
  const [round, setRound] = useState(0);
  const reload = useCallback(() => {
    setRound((n) => n + 1);
  }, []);

  const shown = useRef(range);
  shown.current = range;
  const asked = useRef(0);
  /** Changes that arrived while curves are being fetched; `null` when none are. */
  const waiting = useRef<CurveChange[] | null>(null);
  const refetchTimer = useRef<ReturnType<typeof setTimeout>>();
  const [curveRound, setCurveRound] = useState(0);

  const refetchCurvesSoon = useCallback(() => {
    clearTimeout(refetchTimer.current);
    refetchTimer.current = setTimeout(() => {
      setCurveRound((n) => n + 1);
    }, REFETCH_PAUSE_MS);
  }, []);
  useEffect(
    () => () => {
      clearTimeout(refetchTimer.current);
    },
    [],
  );

  const changeCurves = useCallback((change: CurveChange) => {
    waiting.current?.push(change);
    setCurves((old) => old && change(old));
  }, []);

  const refetchDetail = useCallback(() => {
    api.run(id).then(setDetail, () => undefined);
  }, [id]);

  // The stream.
  const over = detail !== null && isOver(detail);
  useEffect(() => {
    if (over) return;
    const loadAnyway = setTimeout(reload, LOAD_WITHOUT_STREAM_MS);
    const stop = follow(id, {
      onStart: () => {
        clearTimeout(loadAnyway);
        reload();
      },
      onState: setStream,
      onRun: (run) => {
        // What a summary does not have, it has no longer.
        setDetail((old) => old && { ...old, ...GONE, ...run });
      },
      onMetrics: ({ series }) => {
        changeCurves((old) => appendPoints(old, series, shown.current));
      },
      onRewind: ({ next_batch }) => {
        changeCurves((old) => rewindCurves(old, next_batch));
        refetchDetail();
        // A bucket that the rewind cut through still has values of the dropped points.
        refetchCurvesSoon();
      },
      onCheckpoint: (checkpoint) => {
        setCheckpoints((old) => withCheckpoint(old, checkpoint));
      },
      onArtifact: (artifact) => {
        setArtifacts((old) => withArtifact(old, artifact));
      },
      onLog: ({ end }) => {
        setLogEnd(end);
      },
    });
    return () => {
      clearTimeout(loadAnyway);
      stop();
    };
  }, [id, over, reload, changeCurves, refetchDetail, refetchCurvesSoon]);

  // The run, its checkpoints and its files; once more when its state changes, for attempts change with it.
  const phase = detail === null ? "" : `${detail.state} ${detail.attempts}`;
  useEffect(() => {
    if (round === 0) return;
    const controller = new AbortController();
    const { signal } = controller;
    Promise.all([api.run(id, signal), api.checkpoints(id, signal), api.artifacts(id, signal)])
      .then(([run, stored, made]) => {
        setDetail(run);
        setCheckpoints(stored.checkpoints);
        setArtifacts(made.artifacts);
        setLogEnd(`round ${round}, ${phase}`);
        setError(null);
        setNotFound(false);
      })
      .catch((reason: unknown) => {
        if (isAbort(reason)) return;
        setNotFound(isNotFound(reason));
        setError(messageOf(reason));
      });
    return () => {
      controller.abort();
    };
  }, [id, round, phase]);

  // The curves; anew for another range, and once more when the run has ended.
  const from = range?.from ?? null;
  const to = range?.to ?? null;
  useEffect(() => {
    if (round === 0) return;
    const controller = new AbortController();
    waiting.current = [];
    asked.current = points();
    const zoom = from !== null && to !== null ? { from, to } : null;
    api
      .metrics(id, { points: asked.current, range: zoom }, controller.signal)
      .then((answer) => {
        const changes = waiting.current ?? [];
        waiting.current = null;
        setCurves(changes.reduce((sofar, change) => change(sofar), readCurves(answer.series)));
      })
      .catch((reason: unknown) => {
        if (isAbort(reason)) return;
        waiting.current = null;
        setError(messageOf(reason));
      });
    return () => {
      controller.abort();
    };
  }, [id, round, curveRound, from, to, over, points]);

  // Live points pile up behind the reduced ones; have the coordinator reduce them too.
  const tooLong = curves !== null && asked.current > 0 && longest(curves) > MOST_GROWTH * asked.current;
  useEffect(() => {
    if (tooLong) refetchCurvesSoon();
  }, [tooLong, refetchCurvesSoon]);

  return { detail, curves, checkpoints, artifacts, logEnd, error, notFound, stream, reload };
}

/** Whether the run can change no more, unless somebody retries it. */
export function isOver(run: RunSummary): boolean {
  return ["succeeded", "failed", "cancelled", "skipped"].includes(run.state);
}

function isNotFound(reason: unknown): boolean {
  const status = (reason as Partial<ApiError>).status;
  return status === 404 || status === 400;
}

/** A new checkpoint takes the place of the one of its kind. */
export function withCheckpoint(old: readonly Checkpoint[], added: Checkpoint): Checkpoint[] {
  return [added, ...old.filter((checkpoint) => checkpoint.kind !== added.kind && checkpoint.id !== added.id)];
}

/** A new artifact takes the place of the one of its name. */
export function withArtifact(old: readonly Artifact[], added: Artifact): Artifact[] {
  const others = old.filter((artifact) => artifact.name !== added.name);
  return [...others, added].sort((a, b) => (a.name < b.name ? -1 : 1));
}
