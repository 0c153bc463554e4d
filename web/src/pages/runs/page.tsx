/** `/`: the list of runs. */
import { useLocation } from "preact-iso";
import { useEffect, useRef, useState } from "preact/hooks";
import { api } from "../../api/client";
import type { Queue, RunState } from "../../api/types";
import { formatCount } from "../../format";
import { Icon } from "../../parts/icon";
import { ErrorNotice, LiveMark } from "../../parts/notice";
import { usePolled } from "../../poll";
import { useMaySubmit } from "../../session";
import { NEWEST_FIRST, type RunFilter, sortedBy, sortOf, wordOf } from "./list";
import { NewRunDialog } from "./new-run";
import { RunTable } from "./table";
import { useRuns } from "./use-runs";
import { WorkersStrip } from "./workers";

const STATES: readonly RunState[] = [
  "running",
  "queued",
  "waiting",
  "paused",
  "succeeded",
  "failed",
  "cancelled",
  "skipped",
];
/** States that are seldom: shown while there are runs in them. */
const SELDOM: readonly RunState[] = ["waiting", "paused", "skipped"];
const POLL_MS = 4_000;
const TYPING_PAUSE_MS = 250;

export function RunsPage() {
  const { query, route } = useLocation();
  const state = STATES.find((known) => known === query["state"]) ?? null;
  const text = query["q"] ?? "";
  const tag = query["tag"] || null;
  const sort = sortOf(query["sort"]);
  const runs = useRuns({ state, text, tag, sort });
  const queue = usePolled(api.queue, POLL_MS);
  const maySubmit = useMaySubmit();
  const [submitting, setSubmitting] = useState(false);

  useEffect(() => {
    document.title = "Runs · Motif";
  }, []);

  const show = (next: Partial<RunFilter>) => {
    const wanted = { state, text, tag, sort, ...next };
    const search = new URLSearchParams();
    if (wanted.state !== null) search.set("state", wanted.state);
    if (wanted.text !== "") search.set("q", wanted.text);
    if (wanted.tag !== null) search.set("tag", wanted.tag);
    if (wordOf(wanted.sort) !== wordOf(NEWEST_FIRST)) search.set("sort", wordOf(wanted.sort));
    const words = search.toString();
    route(words === "" ? "/" : `/?${words}`, true);
  };

  const nothingAtAll = runs.loaded?.runs.length === 0 && state === null && text === "" && tag === null;
  return (
    <div class="page">
      <div class="page-head">
        <h1>Runs</h1>
        <LiveMark state={runs.stream} />
        {maySubmit && (
          <button
            type="button"
            class="button button-primary"
            onClick={() => {
              setSubmitting(true);
            }}
          >
            <Icon name="plus" /> New run
          </button>
        )}
      </div>
      <WorkersStrip />
      <div class="filters">
        <div class="chips" role="group" aria-label="Filter by state">
          <StateChip
            name="All"
            count={null}
            chosen={state === null}
            onChoose={() => {
              show({ state: null });
            }}
          />
          {STATES.filter((each) => shown(each, queue, state)).map((each) => (
            <StateChip
              key={each}
              name={each}
              count={countOf(queue, each)}
              chosen={state === each}
              onChoose={() => {
                show({ state: each });
              }}
            />
          ))}
        </div>
        {tag !== null && (
          <button
            type="button"
            class="chip chip-tag"
            aria-pressed
            aria-label={`Tag ${tag}: show runs with any tag`}
            onClick={() => {
              show({ tag: null });
            }}
          >
            {tag} <Icon name="close" />
          </button>
        )}
        <TextFilter
          text={text}
          onText={(next) => {
            show({ text: next });
          }}
        />
      </div>
      {runs.error !== null && <ErrorNotice onRetry={runs.retry}>{runs.error}</ErrorNotice>}
      {runs.loaded === null && runs.error === null && <p class="quiet loading">Loading the runs…</p>}
      {nothingAtAll && <HowToSubmit />}
      {runs.loaded?.runs.length === 0 && !nothingAtAll && (
        <div class="card empty">
          <p>No run matches.</p>
          <button
            type="button"
            class="button"
            onClick={() => {
              show({ state: null, text: "", tag: null });
            }}
          >
            Show all runs
          </button>
        </div>
      )}
      {runs.loaded !== null && runs.loaded.runs.length > 0 && (
        <RunTable
          runs={runs.loaded.runs}
          sort={sort}
          onSort={(by) => {
            show({ sort: sortedBy(by, sort) });
          }}
        />
      )}
      {runs.loaded !== null && runs.loaded.nextCursor !== null && (
        <div class="more">
          <button type="button" class="button" disabled={runs.loadingMore} onClick={runs.loadMore}>
            {runs.loadingMore ? "Loading…" : "Show more runs"}
          </button>
        </div>
      )}
      {submitting && (
        <NewRunDialog
          onClose={() => {
            setSubmitting(false);
          }}
        />
      )}
    </div>
  );
}

function shown(each: RunState, queue: Queue | null, chosen: RunState | null): boolean {
  return !SELDOM.includes(each) || each === chosen || (countOf(queue, each) ?? 0) > 0;
}

function countOf(queue: Queue | null, state: RunState): number | null {
  return queue === null ? null : queue[state];
}

interface StateChipProps {
  name: string;
  count: number | null;
  chosen: boolean;
  onChoose: () => void;
}

function StateChip({ name, count, chosen, onChoose }: StateChipProps) {
  return (
    <button type="button" class="chip" aria-pressed={chosen} onClick={onChoose}>
      {name}
      {count !== null && <span class="chip-count">{formatCount(count)}</span>}
    </button>
  );
}

/** Asks for what was typed once the typing pauses. */
function TextFilter({ text, onText }: { text: string; onText: (text: string) => void }) {
  const [typed, setTyped] = useState(text);
  const timer = useRef<ReturnType<typeof setTimeout>>();
  // Other filters may change before the pause is over: what is called then is the newest.
  const newest = useRef(onText);
  newest.current = onText;
  useEffect(() => {
    setTyped(text);
  }, [text]);
  useEffect(
    () => () => {
      clearTimeout(timer.current);
    },
    [],
  );
  return (
    <label class="search">
      <Icon name="search" />
      <span class="visually-hidden">Filter by name, preset or id</span>
      <input
        type="search"
        placeholder="Name, preset or id"
        maxLength={100}
        value={typed}
        onInput={(event) => {
          const next = event.currentTarget.value;
          setTyped(next);
          clearTimeout(timer.current);
          timer.current = setTimeout(() => {
            newest.current(next.trim());
          }, TYPING_PAUSE_MS);
        }}
      />
    </label>
  );
}

function HowToSubmit() {
  return (
    <section class="card empty">
      <h2>No runs yet</h2>
      <p>Submit the demo with the button above, or from a terminal:</p>
      <pre>
        <code>motif submit --preset demo --watch</code>
      </pre>
      <p class="quiet">A worker picks it up, and its curves draw here while it trains.</p>
    </section>
  );
}
