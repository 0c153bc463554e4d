/** A stretch of a run's log as the page holds it: lines in their order, and where to go on at both ends. */
import type { LogLevel, RunLogLine, RunLogs } from "../../api/types";

/** Lines that a page holds; a reader of more goes back page by page. */
export const MOST_LINES = 3_000;

export interface LogStretch {
  readonly lines: readonly RunLogLine[];
  /** Where newer lines begin. */
  readonly after: string;
  /** Where older lines end; `null` at the log's beginning. */
  readonly before: string | null;
}

export interface LogFilter {
  /** This level and above. */
  readonly level: LogLevel;
  readonly search: string;
}

export const LEVELS: readonly LogLevel[] = ["trace", "debug", "info", "warn", "error"];

/** The stretch that a first page makes. */
export function begin(page: RunLogs): LogStretch {
  return { lines: page.lines, after: page.after, before: page.before ?? null };
}

/** Newer lines at the end; the oldest give way, and can be had again. */
export function append(stretch: LogStretch, page: RunLogs, most = MOST_LINES): LogStretch {
  const lines = [...stretch.lines, ...page.lines];
  if (lines.length <= most) return { ...stretch, lines, after: page.after };
  const kept = lines.slice(-most);
  return { lines: kept, after: page.after, before: kept[0] ? placeOf(kept[0]) : stretch.before };
}

/** Older lines at the beginning. They stay, for somebody asked for them. */
export function prepend(stretch: LogStretch, page: RunLogs): LogStretch {
  return { ...stretch, lines: [...page.lines, ...stretch.lines], before: page.before ?? null };
}

/** The place right before a line, as the coordinator writes it. */
export function placeOf(line: RunLogLine): string {
  return `${line.attempt}.${line.sequence}`;
}

/** What tells a line from all others of the run. */
export function keyOf(line: RunLogLine): string {
  return placeOf(line);
}

/** A time of day to the millisecond, where the reader is. */
export function clockOf(instant: string): string {
  const time = new Date(instant);
  const two = (part: number) => String(part).padStart(2, "0");
  const milliseconds = String(time.getMilliseconds()).padStart(3, "0");
  return `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}.${milliseconds}`;
}
