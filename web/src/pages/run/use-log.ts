/**
 * A run's log: the newest page at first, then what is added whenever the run's stream tells of more, and older pages
 * when somebody asks.
 */
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { api, isAbort, messageOf } from "../../api/client";
import { append, begin, type LogFilter, type LogStretch, prepend } from "./log";

const PAGE_LINES = 300;

export interface LogState {
  /** `null` until the first answer. */
  stretch: LogStretch | null;
  error: string | null;
  loadingOlder: boolean;
  loadOlder: () => void;
  reload: () => void;
}

/** `end` is the newest place that the stream told of; any change of it says that there may be more. */
export function useLog(id: string, filter: LogFilter, end: string | null): LogState {
  const [stretch, setStretch] = useState<LogStretch | null>(null);
  const [error, setError] = useState<string | null>(null);
  const [loadingOlder, setLoadingOlder] = useState(false);
  const [round, setRound] = useState(0);
  const reload = useCallback(() => {
    setRound((n) => n + 1);
  }, []);
  const newest = useRef(stretch);
  newest.current = stretch;
  const { level, search } = filter;

  useEffect(() => {
    const controller = new AbortController();
    setStretch(null);
    api
      .logs(id, { level, search, before: "end", limit: PAGE_LINES }, controller.signal)
      .then((page) => {
        setStretch(begin(page));
        setError(null);
      })
      .catch((reason: unknown) => {
        if (!isAbort(reason)) setError(messageOf(reason));
      });
    return () => {
      controller.abort();
    };
  }, [id, level, search, round]);

  // More lines, page after page; the next change waits for the ones before.
  const begun = stretch !== null;
  useEffect(() => {
    if (!begun || end === null) return;
    const controller = new AbortController();
    const { signal } = controller;
    const catchUp = async () => {
      for (let more = true; more;) {
        const after = newest.current?.after;
        if (after === undefined || signal.aborted) return;
        const page = await api.logs(id, { level, search, after, limit: PAGE_LINES }, signal);
        setStretch((old) => (old?.after === after ? (newest.current = append(old, page)) : old));
        more = page.more;
      }
      setError(null);
    };
    catchUp().catch((reason: unknown) => {
      if (!isAbort(reason)) setError(messageOf(reason));
    });
    return () => {
      controller.abort();
    };
  }, [id, level, search, begun, end]);

  const before = stretch?.before ?? null;
  const loadOlder = useCallback(() => {
    if (before === null) return;
    setLoadingOlder(true);
    api
      .logs(id, { level, search, before, limit: PAGE_LINES })
      .then((page) => {
        setStretch((old) => (old?.before === before ? prepend(old, page) : old));
        setError(null);
      })
      .catch((reason: unknown) => {
        setError(messageOf(reason));
      })
      .finally(() => {
        setLoadingOlder(false);
      });
  }, [id, level, search, before]);

  return { stretch, error, loadingOlder, loadOlder, reload };
}
