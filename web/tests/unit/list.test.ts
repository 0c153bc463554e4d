import { describe, expect, it } from "vitest";
import type { RunSummary } from "../../src/api/types";
import { problemsOf, specOf, EMPTY_DRAFT } from "../../src/pages/runs/draft";
import {
  firstPage,
  furtherPage,
  mergeRun,
  NEWEST_FIRST,
  type RunFilter,
  sortedBy,
  sortOf,
  wordOf,
} from "../../src/pages/runs/list";
import { secondsLeft } from "../../src/pages/run/eta";
import { specTables } from "../../src/pages/run/spec";
import { withCheckpoint } from "../../src/pages/run/use-run";
import { newRun } from "../mock/world.js";

const about = { preset: "demo", seed: 0, batches: 100, saveEvery: 10, ageMs: 0 };
function run(id: string, more: Partial<RunSummary> = {}): RunSummary {
  return { ...(newRun({ ...about, name: `run ${id}` }).summary as RunSummary), id, ...more };
}
const all: RunFilter = { state: null, text: "", tag: null, sort: NEWEST_FIRST };
const ids = (loaded: { runs: readonly RunSummary[] }) => loaded.runs.map(({ id }) => id);

describe("the list of runs", () => {
  const loaded = { runs: [run("5"), run("3")], nextCursor: null };

  it("puts a new run at its place by age", () => {
    expect(ids(mergeRun(loaded, run("6"), all))).toEqual(["6", "5", "3"]);
    expect(ids(mergeRun(loaded, run("4"), all))).toEqual(["5", "4", "3"]);
    expect(ids(mergeRun(loaded, run("2"), all))).toEqual(["5", "3", "2"]);
  });

  it("changes a run in its place", () => {
    const merged = mergeRun(loaded, run("3", { state: "running" }), all);
    expect(ids(merged)).toEqual(["5", "3"]);
    expect(merged.runs[1]?.state).toBe("running");
  });

  it("drops a run that the filter no longer wants, and takes in none that it never wanted", () => {
    expect(ids(mergeRun(loaded, run("3", { state: "failed" }), { ...all, state: "queued" }))).toEqual(["5"]);
    expect(ids(mergeRun(loaded, run("9"), { ...all, text: "other" }))).toEqual(["5", "3"]);
    expect(ids(mergeRun(loaded, run("9"), { ...all, text: "RUN" }))).toEqual(["9", "5", "3"]);
  });

  it("takes in only runs with the tag", () => {
    const tagged = { ...all, tag: "paper" };
    expect(ids(mergeRun(loaded, run("9", { tags: ["demo"] }), tagged))).toEqual(["5", "3"]);
    expect(ids(mergeRun(loaded, run("9", { tags: ["paper"] }), tagged))).toEqual(["9", "5", "3"]);
  });

  it("changes runs in their place in another order, and leaves new ones to the coordinator", () => {
    const byName: RunFilter = { ...all, sort: { by: "name", descending: false } };
    const merged = mergeRun(loaded, run("3", { state: "failed" }), byName);
    expect([ids(merged), merged.runs[1]?.state]).toEqual([["5", "3"], "failed"]);
    expect(ids(mergeRun(loaded, run("9"), byName))).toEqual(["5", "3"]);
  });

  it("is sorted by a column's own direction first and turned by a second click", () => {
    const once = sortedBy("best_validation", NEWEST_FIRST);
    expect(wordOf(once)).toBe("best_validation");
    expect(wordOf(sortedBy("best_validation", once))).toBe("-best_validation");
    expect(wordOf(sortedBy("created", once))).toBe("-created");
  });

  it("takes its order from the address and ignores what is none", () => {
    expect(sortOf("-last_loss")).toEqual({ by: "last_loss", descending: true });
    expect([undefined, "", "-", "size"].map((word) => wordOf(sortOf(word)))).toEqual(
      Array(4).fill("-created"),
    );
  });

  it("leaves to later pages what belongs there", () => {
    const more = { ...loaded, nextCursor: "next" };
    expect(ids(mergeRun(more, run("2"), all))).toEqual(["5", "3"]);
    expect(ids(mergeRun(more, run("3", { state: "running" }), all))).toEqual(["5", "3"]);
  });

  it("grows by pages without doubles", () => {
    const first = firstPage({ runs: [run("5"), run("3")], next_cursor: "c" });
    const grown = furtherPage(first, { runs: [run("3"), run("1")] });
    expect(ids(grown)).toEqual(["5", "3", "1"]);
    expect(grown.nextCursor).toBeNull();
  });
});

describe("a new run", () => {
  it("sends only what was typed", () => {
    expect(specOf({ ...EMPTY_DRAFT, preset: "demo" })).toEqual({ preset: "demo" });
    expect(
      specOf({ preset: "demo", base: " x ", name: " a ", seed: "3", batches: "1 000", hidden: "64" }),
    ).toEqual({
      preset: "demo",
      base: "x",
      name: "a",
      seed: 3,
      training: { batches: 1000 },
      network: { hidden: 64 },
    });
  });

  it("sends what is no number as it was typed, for the coordinator to refuse", () => {
    expect(specOf({ ...EMPTY_DRAFT, preset: "demo", seed: "abc" })["seed"]).toBe("abc");
  });

  it("shows problems at their fields", () => {
    const placed = problemsOf([
      { pointer: "/seed", detail: "a" },
      { pointer: "/training/clip", detail: "b" },
    ]);
    expect(placed.seed).toHaveLength(1);
    expect(placed.others).toHaveLength(1);
    expect(placed.name).toHaveLength(0);
  });
});

describe("a run's page", () => {
  it("tells the time left by the pace of the present attempt", () => {
    const detail = {
      ...run("1", {
        state: "running",
        progress: { batches_done: 60, batches_total: 100, batches_per_second: 50 },
      }),
      attempt_history: [{ state: "running", first_batch: 40, started_at: "2026-01-01T00:00:00Z" }],
    } as never;
    expect(secondsLeft(detail, Date.parse("2026-01-01T00:00:10Z"))).toBeCloseTo(20, 9);
  });

  it("keeps one checkpoint of a kind", () => {
    const checkpoint = (id: string, kind: "best" | "last") => ({ id, kind }) as never;
    const kept = withCheckpoint([checkpoint("a", "best"), checkpoint("b", "last")], checkpoint("c", "last"));
    expect(kept.map(({ id }) => id)).toEqual(["c", "a"]);
  });

  it("lays the spec out by its tables", () => {
    expect(
      specTables({ seed: 0, network: { hidden: 64 }, training: { tasks: ["a", "b"], losses: { rate: 0 } } }),
    ).toEqual([
      { title: "experiment", rows: [["seed", "0"]] },
      { title: "network", rows: [["hidden", "64"]] },
      {
        title: "training",
        rows: [
          ["tasks", "a, b"],
          ["losses.rate", "0"],
        ],
      },
    ]);
  });
});
