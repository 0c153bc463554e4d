import { cleanup, fireEvent, render, screen, waitFor } from "@testing-library/preact";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { RunLogLine, RunLogs } from "../../src/api/types";
import { append, begin, prepend } from "../../src/pages/run/log";
import { Logs } from "../../src/pages/run/logs";

function line(sequence: number, message = `line ${sequence}`): RunLogLine {
  return {
    attempt: 1,
    sequence,
    time: "2026-01-01T12:00:00.250Z",
    level: "info",
    target: "motif_worker",
    message,
    fields: { batch: String(sequence) },
  };
}

function page(from: number, to: number, rest: Partial<RunLogs> = {}): RunLogs {
  const lines = Array.from({ length: to - from }, (_, i) => line(from + i));
  return { lines, after: `1.${to}`, more: false, ...rest };
}

describe("a stretch of a log", () => {
  it("grows at both ends and keeps its places", () => {
    const first = begin(page(5, 8, { before: "1.5" }));
    const longer = prepend(append(first, page(8, 10)), page(2, 5, { before: "1.2" }));
    expect(longer.lines.map((each) => each.sequence)).toEqual([2, 3, 4, 5, 6, 7, 8, 9]);
    expect([longer.before, longer.after]).toEqual(["1.2", "1.10"]);
    expect(prepend(longer, page(0, 2)).before).toBeNull();
  });

  it("lets go of the oldest lines, which can be had again", () => {
    const full = append(begin(page(0, 4)), page(4, 6), 3);
    expect(full.lines.map((each) => each.sequence)).toEqual([3, 4, 5]);
    expect(full.before).toBe("1.3");
  });
});

describe("the log of a run", () => {
  const asked: string[] = [];
  let answers: RunLogs[];

  beforeEach(() => {
    asked.length = 0;
    answers = [];
    vi.stubGlobal("fetch", (address: string) => {
      asked.push(address);
      return Promise.resolve(new Response(JSON.stringify(answers.shift() ?? page(0, 0))));
    });
  });

  afterEach(() => {
    cleanup();
    vi.unstubAllGlobals();
  });

  it("begins with the newest lines and adds what the stream tells of", async () => {
    answers = [page(3, 5, { before: "1.3" }), page(5, 6)];
    const { rerender } = render(<Logs run="r" end={null} attempts={1} />);
    await screen.findByText("line 4");
    expect(asked[0]).toContain("/runs/r/logs?level=info&before=end");
    rerender(<Logs run="r" end="1.6" attempts={1} />);
    await screen.findByText("line 5");
    expect(asked.at(-1)).toContain("after=1.5");
    expect(screen.getByText("line 3")).toBeTruthy();
  });

  it("shows older lines when somebody asks", async () => {
    answers = [page(3, 5, { before: "1.3" }), page(0, 3)];
    render(<Logs run="r" end={null} attempts={1} />);
    fireEvent.click(await screen.findByText("Show older lines"));
    await screen.findByText("line 0");
    expect(asked.at(-1)).toContain("before=1.3");
    expect(screen.queryByText("Show older lines")).toBeNull();
  });

  it("asks anew for another level and for a text", async () => {
    answers = [page(0, 1)];
    render(<Logs run="r" end={null} attempts={2} />);
    await screen.findByText("line 0");
    expect(screen.getByText("#1")).toBeTruthy();
    fireEvent.change(screen.getByLabelText("Least level"), { target: { value: "warn" } });
    await screen.findByText("No line matches.");
    expect(asked.at(-1)).toContain("level=warn");
    fireEvent.input(screen.getByLabelText("Search the log"), { target: { value: "not finite" } });
    await waitFor(() => {
      expect(asked.at(-1)).toContain("search=not+finite");
    });
  });

  it("shows what lines say as text, whatever it is", async () => {
    answers = [{ ...page(0, 0), lines: [line(0, "<img src=x onerror=alert(1)>")] }];
    const { container } = render(<Logs run="r" end={null} attempts={1} />);
    await screen.findByText("<img src=x onerror=alert(1)>");
    expect(container.querySelector("img")).toBeNull();
  });
});
