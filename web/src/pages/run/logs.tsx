/** What the run's workers logged: the newest lines, followed as they come, searched, and older ones page by page. */
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { LogLevel, RunLogLine } from "../../api/types";
import { formatInstant } from "../../format";
import { Icon } from "../../parts/icon";
import { ErrorNotice } from "../../parts/notice";
import { clockOf, keyOf, LEVELS, type LogFilter } from "./log";
import { useLog } from "./use-log";

const TYPING_PAUSE_MS = 300;
/** So near to the end counts as there. */
const NEAR_END_PX = 24;
const NO_LINES: readonly RunLogLine[] = [];

export function Logs({ run, end, attempts }: { run: string; end: string | null; attempts: number }) {
  const [filter, setFilter] = useState<LogFilter>({ level: "info", search: "" });
  const [following, setFollowing] = useState(true);
  const log = useLog(run, filter, end);
  const box = useRef<HTMLDivElement>(null);
  const lines = log.stretch?.lines ?? NO_LINES;

  // Follow the end; where somebody reads further up, keep the line under their eyes.
  const last = useRef({ height: 0, first: "" });
  useLayoutEffect(() => {
    const shown = box.current;
    if (shown === null) return;
    const first = lines[0] ? keyOf(lines[0]) : "";
    if (following) shown.scrollTop = shown.scrollHeight;
    else if (first !== last.current.first) shown.scrollTop += shown.scrollHeight - last.current.height;
    last.current = { height: shown.scrollHeight, first };
  }, [lines, following]);

  return (
    <section class="card log-card" aria-labelledby="log-title">
      <div class="log-head">
        <h2 id="log-title">Log</h2>
        <label class="log-level">
          <span class="visually-hidden">Least level</span>
          <select
            value={filter.level}
            onChange={(event) => {
              setFilter({ ...filter, level: event.currentTarget.value as LogLevel });
            }}
          >
            {LEVELS.map((level) => (
              <option key={level} value={level}>
                {level === "error" ? "error" : `${level} and above`}
              </option>
            ))}
          </select>
        </label>
        <Search
          onSearch={(search) => {
            setFilter((old) => ({ ...old, search }));
          }}
        />
        <label class="log-follow">
          <input
            type="checkbox"
            checked={following}
            onChange={(event) => {
              setFollowing(event.currentTarget.checked);
            }}
          />
          Follow
        </label>
      </div>
      {log.error !== null && <ErrorNotice onRetry={log.reload}>{log.error}</ErrorNotice>}
      {log.stretch === null && log.error === null && <p class="quiet loading">Loading the log…</p>}
      {log.stretch !== null && lines.length === 0 && (
        <p class="quiet">
          {filter.search !== "" || filter.level !== "info"
            ? "No line matches."
            : "Nothing yet. A worker's lines show here as it writes them."}
        </p>
      )}
      {lines.length > 0 && (
        <div
          ref={box}
          class="log-lines"
          role="log"
          aria-label="Log lines"
          aria-live="off"
          tabIndex={0}
          onScroll={(event) => {
            const { scrollHeight, scrollTop, clientHeight } = event.currentTarget;
            setFollowing(scrollHeight - scrollTop - clientHeight < NEAR_END_PX);
          }}
        >
          {log.stretch?.before !== null && (
            <button
              type="button"
              class="button log-older"
              disabled={log.loadingOlder}
              onClick={log.loadOlder}
            >
              {log.loadingOlder ? "Loading…" : "Show older lines"}
            </button>
          )}
          {lines.map((line) => (
            <Line key={keyOf(line)} line={line} numbered={attempts > 1} />
          ))}
        </div>
      )}
    </section>
  );
}

function Line({ line, numbered }: { line: RunLogLine; numbered: boolean }) {
  const fields = Object.entries(line.fields ?? {});
  return (
    <div class="log-line" data-level={line.level}>
      <time dateTime={line.time} title={`${formatInstant(line.time)} · ${line.target}`}>
        {clockOf(line.time)}
      </time>
      {numbered && <span class="log-attempt">#{line.attempt}</span>}
      <span class="log-word">{line.level}</span>
      <span class="log-message">
        {line.message}
        {fields.map(([name, value]) => (
          <span key={name} class="log-field">
            <span class="log-name">{name}=</span>
            {value}
          </span>
        ))}
      </span>
    </div>
  );
}

/** Asks for what was typed once the typing pauses. */
function Search({ onSearch }: { onSearch: (text: string) => void }) {
  const [typed, setTyped] = useState("");
  const newest = useRef(onSearch);
  newest.current = onSearch;
  useEffect(() => {
    const timer = setTimeout(() => {
      newest.current(typed.trim());
    }, TYPING_PAUSE_MS);
    return () => {
      clearTimeout(timer);
    };
  }, [typed]);
  return (
    <label class="search log-search">
      <Icon name="search" />
      <span class="visually-hidden">Search the log</span>
      <input
        type="search"
        placeholder="Search the log"
        maxLength={100}
        value={typed}
        onInput={(event) => {
          setTyped(event.currentTarget.value);
        }}
      />
    </label>
  );
}
