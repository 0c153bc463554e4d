import { fireEvent, render, screen, waitFor } from "@testing-library/preact";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { RunDetail, RunState } from "../../src/api/types";
import { RunActions, wishesFor } from "../../src/pages/run/actions";
import { isOver } from "../../src/pages/run/use-run";
import { StateBadge } from "../../src/parts/state";
import { newRun } from "../mock/world.js";

const NOW = Date.parse("2026-01-01T12:00:00Z");

function runIn(state: RunState, more: Partial<RunDetail> = {}): RunDetail {
  const made = newRun({ name: "demo", preset: "demo", seed: 0, batches: 10, saveEvery: 5, ageMs: 0 });
  return { ...(made.summary as RunDetail), ...more, state };
}

function answering(status: number, body: object) {
  const fetched = vi.fn(() => Promise.resolve(new Response(JSON.stringify(body), { status })));
  vi.stubGlobal("fetch", fetched);
  return fetched;
}

afterEach(() => {
  vi.unstubAllGlobals();
});

describe("the wishes of a run", () => {
  it("are those that change something where it stands", () => {
    const wishes = (state: RunState, more: Partial<RunDetail> = {}) => wishesFor(runIn(state, more), NOW);
    expect(wishes("waiting")).toEqual(["pause", "cancel"]);
    expect(wishes("queued")).toEqual(["pause", "cancel"]);
    expect(wishes("running")).toEqual(["pause", "cancel"]);
    expect(wishes("running", { pausing: true })).toEqual(["resume", "cancel"]);
    expect(wishes("paused")).toEqual(["resume", "cancel"]);
    expect(wishes("failed")).toEqual(["retry"]);
    expect(wishes("cancelled")).toEqual(["retry"]);
    expect(wishes("skipped")).toEqual(["retry"]);
    expect(wishes("succeeded")).toEqual([]);
  });

  it("hold an end to the wait before another try only while there is one", () => {
    const at = (instant: string) => wishesFor(runIn("queued", { not_before: instant }), NOW);
    expect(at("2026-01-01T12:00:10Z")[0]).toBe("retry");
    expect(at("2026-01-01T11:59:50Z")[0]).toBe("pause");
  });
});

describe("the buttons of a run", () => {
  it("send the wish and tell when it was granted", async () => {
    const fetched = answering(200, {});
    const changed = vi.fn();
    const run = runIn("running");
    render(<RunActions run={run} now={NOW} onChanged={changed} />);
    fireEvent.click(screen.getByRole("button", { name: "Pause" }));
    await waitFor(() => {
      expect(changed).toHaveBeenCalledOnce();
    });
    expect(fetched).toHaveBeenCalledWith(
      `/api/v1/runs/${run.id}/pause`,
      expect.objectContaining({ method: "POST" }),
    );
  });

  it("say why a wish was refused", async () => {
    answering(409, { detail: "Run 1 has already succeeded", code: "run_ended" });
    render(<RunActions run={runIn("paused")} now={NOW} onChanged={() => undefined} />);
    fireEvent.click(screen.getByRole("button", { name: "Resume" }));
    await screen.findByText("Run 1 has already succeeded");
  });

  it("cancel only when that is confirmed", async () => {
    const fetched = answering(200, {});
    render(<RunActions run={runIn("queued")} now={NOW} onChanged={() => undefined} />);
    fireEvent.click(screen.getByRole("button", { name: "Cancel run" }));
    expect(fetched).not.toHaveBeenCalled();
    fireEvent.click(screen.getByRole("button", { name: "Cancel the run" }));
    await waitFor(() => {
      expect(fetched).toHaveBeenCalledOnce();
    });
  });
});

describe("a run's state", () => {
  it("says that a pause is on its way", () => {
    render(<StateBadge state="running" pausing />);
    expect(screen.getByText("pausing").dataset["state"]).toBe("running");
  });

  it("is over only where nothing but a retry changes it", () => {
    const over = (["waiting", "queued", "running", "paused"] as const).map((state) => isOver(runIn(state)));
    expect(over).toEqual([false, false, false, false]);
    expect(isOver(runIn("skipped"))).toBe(true);
  });
});
