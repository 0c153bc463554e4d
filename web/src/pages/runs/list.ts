/** The list of runs that the page has, and what an event does to it. */
import type { RunList, RunState, RunSummary } from "../../api/types";

/** What a list can be sorted by with a click; the coordinator knows more. */
export type SortKey = "created" | "name" | "last_loss" | "best_validation" | "duration";

export interface RunSort {
  readonly by: SortKey;
  readonly descending: boolean;
}

export interface RunFilter {
  readonly state: RunState | null;
  readonly text: string;
  readonly tag: string | null;
  readonly sort: RunSort;
}

export const NEWEST_FIRST: RunSort = { by: "created", descending: true };
const SORT_KEYS: readonly SortKey[] = ["created", "name", "last_loss", "best_validation", "duration"];
/** Of these, the greatest come first at the first click. */
const GREATEST_FIRST: readonly SortKey[] = ["created", "duration"];

/** The order as the coordinator and the address have it, such as `-created`. */
export function wordOf({ by, descending }: RunSort): string {
  return descending ? `-${by}` : by;
}

/** The order that a word of the address stands for; newest first where it stands for none. */
export function sortOf(word: string | undefined): RunSort {
  const descending = word?.startsWith("-") ?? false;
  const name = descending ? word?.slice(1) : word;
  const by = SORT_KEYS.find((known) => known === name);
  return by === undefined ? NEWEST_FIRST : { by, descending };
}

/** The order after a click on a column: its own first, then the other way round. */
export function sortedBy(by: SortKey, before: RunSort): RunSort {
  const first = GREATEST_FIRST.includes(by);
  return { by, descending: before.by === by ? !before.descending : first };
}

export function isNewestFirst(sort: RunSort): boolean {
  return wordOf(sort) === wordOf(NEWEST_FIRST);
}

/** Runs in the order asked for, and where to go on. */
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
 * not want it or it lies beyond the pages loaded. In another order than by age only the coordinator knows the
 * place of a run that is not there yet.
 */
export function mergeRun(loaded: LoadedRuns, run: RunSummary, filter: RunFilter): LoadedRuns {
  const others = loaded.runs.filter((other) => other.id !== run.id);
  if (!matches(run, filter)) return { ...loaded, runs: others };
  if (!isNewestFirst(filter.sort))
    return { ...loaded, runs: loaded.runs.map((other) => (other.id === run.id ? run : other)) };
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
  if (filter.tag !== null && !run.tags.includes(filter.tag)) return false;
  const text = filter.text.trim().toLowerCase();
  if (text === "") return true;
  return [run.name, run.preset ?? "", run.id].some((word) => word.toLowerCase().includes(text));
}
