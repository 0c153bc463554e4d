import { render, screen, waitFor } from "@testing-library/preact";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { Artifact } from "../../src/api/types";
import { readEvaluation, shareOf } from "../../src/pages/run/evaluation";
import { EvaluationCard, HeatTable } from "../../src/pages/run/heat-table";
import { evaluationOf, TASKS } from "../mock/world.js";

const condition = (task: string, speed: number, delay: number, position: number | null) => ({
  task,
  speed,
  delay,
  movement: 50,
  directions: 32,
  position,
});

function read(conditions: object[], total: number | null = 0.02) {
  const evaluation = readEvaluation({ conditions, total });
  if (evaluation === null) throw new Error("no table");
  return evaluation;
}

describe("an evaluation's document", () => {
  it("becomes a row for each task and a cell for each speed", () => {
    const evaluation = read([
      condition("DlyFigure8", 1, 25, 0.02),
      condition("DlyFigure8", 0, 75, 0.04),
      condition("DlyHalfReach", 0, 50, 0.01),
    ]);
    expect(evaluation.speeds).toEqual([0, 1]);
    expect(evaluation.rows.map((row) => [row.task, row.delay])).toEqual([
      ["DlyFigure8", null],
      ["DlyHalfReach", null],
    ]);
    expect(evaluation.rows[0]?.cells.map((cell) => cell?.position)).toEqual([0.04, 0.02]);
    expect(evaluation.rows[0]?.mean).toBeCloseTo(0.03);
    expect(evaluation.rows[1]?.cells[1]).toBeNull();
  });

  it("has a row for each delay where every condition was measured under several", () => {
    const evaluation = read([condition("DlyFigure8", 0, 75, 0.04), condition("DlyFigure8", 0, 25, 0.02)]);
    expect(evaluation.rows.map((row) => row.delay)).toEqual([25, 75]);
  });

  it("spreads the colours from the least to the greatest", () => {
    const evaluation = read([condition("a", 0, 25, 0.01), condition("a", 1, 25, 0.03)]);
    expect(shareOf(0.01, evaluation)).toBe(0);
    expect(shareOf(0.02, evaluation)).toBeCloseTo(0.5);
    expect(shareOf(0.03, evaluation)).toBe(1);
    const even = read([condition("a", 0, 25, 0.01)]);
    expect(shareOf(0.01, even)).toBe(0);
  });

  it("is refused where it is none", () => {
    for (const document of [null, 3, {}, { conditions: [] }, { conditions: [{ task: "a" }] }]) {
      expect(readEvaluation(document)).toBeNull();
    }
  });
});

describe("the table of an evaluation", () => {
  it("shows millimetres, warmer where they are more, and the mean over all", () => {
    render(
      <HeatTable
        evaluation={read([
          condition("DlyHalfReach", 0, 25, 0.0123),
          condition("DlyHalfReach", 1, 25, 0.0246),
        ])}
      />,
    );
    const warm = screen.getByText("24.6", { selector: "td" });
    expect(warm.style.getPropertyValue("--heat")).toBe("100.0%");
    expect(screen.getByText("12.3", { selector: "td" }).style.getPropertyValue("--heat")).toBe("0.0%");
    expect(screen.getByRole("rowheader", { name: "Half reach" })).toBeTruthy();
    expect(screen.getByText("20.0", { selector: "td" })).toBeTruthy();
  });

  it("shows what was not finite as missing", () => {
    render(<HeatTable evaluation={read([condition("a", 0, 25, null), condition("a", 1, 25, 0.01)], null)} />);
    expect(screen.getAllByText("–", { selector: "td" }).length).toBe(3);
  });
});

describe("the card of an evaluation", () => {
  afterEach(() => {
    vi.unstubAllGlobals();
  });

  const artifact = { id: "a1", name: "evaluation.json" } as Artifact;
  const answer = (body: string) => vi.fn(() => Promise.resolve(new Response(body, { status: 200 })));

  it("waits for the file, and says so when the run ended without it", () => {
    const { rerender } = render(<EvaluationCard artifacts={[]} ended={false} />);
    expect(screen.getByText(/appears when every condition/)).toBeTruthy();
    rerender(<EvaluationCard artifacts={[]} ended />);
    expect(screen.getByText("The run made no table.")).toBeTruthy();
  });

  it("fetches the table when the file is there", async () => {
    const fetched = answer(JSON.stringify(evaluationOf(TASKS)));
    vi.stubGlobal("fetch", fetched);
    render(<EvaluationCard artifacts={[artifact]} ended />);
    await screen.findByRole("rowheader", { name: "Figure eight" });
    expect(fetched).toHaveBeenCalledWith("/api/v1/artifacts/a1/content", expect.anything());
    expect(screen.getAllByRole("row")).toHaveLength(1 + TASKS.length + 1);
  });

  it("says when it cannot read what the file holds", async () => {
    vi.stubGlobal("fetch", answer("{}"));
    render(<EvaluationCard artifacts={[artifact]} ended />);
    await waitFor(() => screen.getByText(/holds no table/));
  });
});
