/** The list of runs that the page has, and what an event does to it. */
import type { RunList, RunState, RunSummary } from "../../api/types";

export interface RunFilter {
  readonly state: RunState | null;
  readonly text: string;
}

/** Runs newest first, and where to go on. */
export interface LoadedRuns {
  readonly runs: readonly RunSummary[];
  readonly nextCursor: string | null;
}

export function firstPage(answer: RunList): LoadedRuns {
  return { runs: answer.runs, nextCursor: answer.next_cursor ?? null };
}

/** Adds a further page; runs that are already there keep their newer state. */
export function furtherPage(loaded: LoadedRuns, answer: RunList): LoadedRuns {
  const known = new Set(loaded.runs.map((run) => run.id));
  return {
    runs: [...loaded.runs, ...answer.runs.filter((run) => !known.has(run.id))],
    nextCursor: answer.next_cursor ?? null,
  };
}

/**
 * Puts a run's new state into the list: in its place, at its place by age, or nowhere where the filter does
 * not want it or it lies beyond the pages loaded.
 */
export function mergeRun(loaded: LoadedRuns, run: RunSummary, filter: RunFilter): LoadedRuns {
  const others = loaded.runs.filter((other) => other.id !== run.id);
  if (!matches(run, filter)) return { ...loaded, runs: others };
  // Ids of version 7 sort by the time that they were made.
  const place = others.findIndex((other) => other.id < run.id);
  if (place >= 0) return { ...loaded, runs: [...others.slice(0, place), run, ...others.slice(place)] };
  const known = others.length < loaded.runs.length;
  if (loaded.nextCursor !== null && !known) return loaded;
  return { ...loaded, runs: [...others, run] };
}

/** Whether a run is one that the filter asks for; the text is looked for as the coordinator does. */
export function matches(run: RunSummary, filter: RunFilter): boolean {
  if (filter.state !== null && run.state !== filter.state) return false;
  const text = filter.text.trim().toLowerCase();
  if (text === "") return true;
  return [run.name, run.preset ?? "", run.id].some((word) => word.toLowerCase().includes(text));
}
