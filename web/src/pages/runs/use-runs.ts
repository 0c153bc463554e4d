/** Loads the list of runs, page by page, and keeps it up to date from the stream. */
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { api, isAbort, messageOf } from "../../api/client";
import { follow, type StreamState } from "../../live";
import { firstPage, furtherPage, type LoadedRuns, mergeRun, type RunFilter } from "./list";

const PAGE_SIZE = 50;

export interface Runs {
  /** `null` until the first answer. */
  loaded: LoadedRuns | null;
  error: string | null;
  stream: StreamState;
  loadingMore: boolean;
  loadMore: () => void;
  retry: () => void;
}

export function useRuns({ state, text }: RunFilter): Runs {
  const [loaded, setLoaded] = useState<LoadedRuns | null>(null);
  const [error, setError] = useState<string | null>(null);
  const [stream, setStream] = useState<StreamState>("connecting");
  const [loadingMore, setLoadingMore] = useState(false);
  const [round, setRound] = useState(0);
  const filter = useRef<RunFilter>({ state, text });
  filter.current = { state, text };

  useEffect(() => {
    const controller = new AbortController();
    api
      .runs({ state, q: text, limit: PAGE_SIZE }, controller.signal)
      .then((answer) => {
        setLoaded(firstPage(answer));
        setError(null);
      })
      .catch((reason: unknown) => {
        if (!isAbort(reason)) setError(messageOf(reason));
      });
    return () => {
      controller.abort();
    };
  }, [state, text, round]);

  const retry = useCallback(() => {
    setRound((n) => n + 1);
  }, []);

  useEffect(
    () =>
      follow(null, {
        onStart: retry,
        onState: setStream,
        onRun: (run) => {
          setLoaded((runs) => runs && mergeRun(runs, run, filter.current));
        },
      }),
    [retry],
  );

  const cursor = loaded?.nextCursor ?? null;
  const loadMore = useCallback(() => {
    if (cursor === null) return;
    setLoadingMore(true);
    api
      .runs({ state, q: text, limit: PAGE_SIZE, cursor })
      .then((answer) => {
        setLoaded((runs) => (runs && runs.nextCursor === cursor ? furtherPage(runs, answer) : runs));
      })
      .catch((reason: unknown) => {
        setError(messageOf(reason));
      })
      .finally(() => {
        setLoadingMore(false);
      });
  }, [cursor, state, text]);

  return { loaded, error, stream, loadingMore, loadMore, retry };
}
