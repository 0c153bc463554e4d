/** Facts that have no stream are asked for again and again while the page is looked at. */
import { useEffect, useState } from "preact/hooks";

/** The newest answer of `ask`; the last one stays while asking fails. */
export function usePolled<T>(ask: (signal: AbortSignal) => Promise<T>, everyMs: number): T | null {
  const [answer, setAnswer] = useState<T | null>(null);
  useEffect(() => {
    const controller = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const round = async () => {
      if (!document.hidden) {
        try {
          const newest = await ask(controller.signal);
          if (!controller.signal.aborted) setAnswer(newest);
        } catch {
          // The streams' notice already says that the coordinator is away.
        }
      }
      if (!controller.signal.aborted) timer = setTimeout(() => void round(), everyMs);
    };
    void round();
    return () => {
      controller.abort();
      clearTimeout(timer);
    };
  }, [ask, everyMs]);
  return answer;
}
