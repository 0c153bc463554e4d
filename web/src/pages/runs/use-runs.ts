/** Loads the list of runs, page by page, and keeps it up to date from the stream. */
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { api, isAbort, messageOf } from "../../api/client";
import { follow, type StreamState } from "../../live";
import {
  firstPage,
  furtherPage,
  isNewestFirst,
  type LoadedRuns,
  mergeRun,
  type RunFilter,
  wordOf,
} from "./list";

const PAGE_SIZE = 50;
/** How soon a list is asked for anew whose order a change may have shifted. */
const REORDER_MS = 5_000;

export interface Runs {
  /** `null` until the first answer. */
  loaded: LoadedRuns | null;
  error: string | null;
  stream: StreamState;
  loadingMore: boolean;
  loadMore: () => void;
  retry: () => void;
}

export function useRuns({ state, text, tag, sort }: RunFilter): Runs {
  const [loaded, setLoaded] = useState<LoadedRuns | null>(null);
  const [error, setError] = useState<string | null>(null);
  const [stream, setStream] = useState<StreamState>("connecting");
  const [loadingMore, setLoadingMore] = useState(false);
  const [round, setRound] = useState(0);
  const filter = useRef<RunFilter>({ state, text, tag, sort });
  filter.current = { state, text, tag, sort };
  const order = wordOf(sort);
  const reorder = useRef<ReturnType<typeof setTimeout>>();
  const pages = useRef(1);

  useEffect(() => {
    const controller = new AbortController();
    api
      .runs({ state, q: text, tag, sort: order, limit: PAGE_SIZE }, controller.signal)
      .then((answer) => {
        pages.current = 1;
        setLoaded(firstPage(answer));
        setError(null);
      })
      .catch((reason: unknown) => {
        if (!isAbort(reason)) setError(messageOf(reason));
      });
    return () => {
      controller.abort();
      clearTimeout(reorder.current);
      reorder.current = undefined;
    };
  }, [state, text, tag, order, round]);

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
          // Whoever has gone on to further pages is not thrown back to the first.
          if (isNewestFirst(filter.current.sort) || pages.current > 1) return;
          reorder.current ??= setTimeout(retry, REORDER_MS);
        },
      }),
    [retry],
  );

  const cursor = loaded?.nextCursor ?? null;
  const loadMore = useCallback(() => {
    if (cursor === null) return;
    setLoadingMore(true);
    api
      .runs({ state, q: text, tag, sort: order, limit: PAGE_SIZE, cursor })
      .then((answer) => {
        pages.current += 1;
        setLoaded((runs) => (runs && runs.nextCursor === cursor ? furtherPage(runs, answer) : runs));
      })
      .catch((reason: unknown) => {
        setError(messageOf(reason));
      })
      .finally(() => {
        setLoadingMore(false);
      });
  }, [cursor, state, text, tag, order]);

  return { loaded, error, stream, loadingMore, loadMore, retry };
}
