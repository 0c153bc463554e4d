import { fireEvent, render, screen } from "@testing-library/preact";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { Chart, type ChartProps } from "../../src/charts/chart";
import { type Curve, readCurves } from "../../src/charts/curve";
import { colourOf } from "../../src/charts/palette";
import { pointsOf } from "../mock/world.js";
import { drawn } from "./canvas";

const INK = colourOf("ink", "light");
const BLUE = colourOf("blue", "light");

const curve = (name: string, steps: number[], values: number[]): Curve => ({
  name,
  steps,
  values,
  min: null,
  max: null,
});

function chart(curves: readonly Curve[], more: Partial<ChartProps> = {}) {
  const props: ChartProps = {
    title: "Training loss",
    unit: "",
    curves,
    hidden: new Set(),
    onHidden: vi.fn(),
    range: null,
    onZoom: vi.fn(),
    onReset: vi.fn(),
    logarithmic: false,
    smoothing: 0,
    theme: "light",
    syncKey: "run",
    emptyText: "The first batches draw here.",
    ...more,
  };
  return { props, ...render(<Chart {...props} />) };
}

describe("a chart", () => {
  beforeEach(() => {
    vi.spyOn(HTMLElement.prototype, "clientWidth", "get").mockReturnValue(600);
  });

  it("without points says so and draws nothing", async () => {
    const { container } = chart([]);
    expect(screen.getByText("The first batches draw here.")).toBeTruthy();
    expect(container.querySelector("canvas")).toBeNull();
    expect(await drawn(INK)).toBe(false);
  });

  it("draws one point", async () => {
    const { container } = chart([curve("loss/total", [0], [0.5])]);
    expect(container.querySelector("canvas")).not.toBeNull();
    expect(container.querySelector("figure")?.dataset["points"]).toBe("1");
    expect(screen.getByText("0.5000")).toBeTruthy();
    expect(await drawn(INK)).toBe(true);
  });

  it("says which values are not finite and draws the others", async () => {
    chart([curve("loss/total", [0, 1, 2, 3], [1, Number.NaN, Number.POSITIVE_INFINITY, 0.5])]);
    expect(screen.getByRole("note").textContent).toBe("Total: 2 values are not finite, first at batch 1");
    expect(await drawn(INK)).toBe(true);
  });

  it("of values that are all not finite stands without a line", () => {
    const { container } = chart([curve("loss/total", [0, 1], [Number.NaN, Number.NaN])]);
    expect(container.querySelector("canvas")).not.toBeNull();
    expect(screen.getByRole("note").textContent).toContain("2 values are not finite");
  });

  it("draws many points of many series, reduced ones with a band", async () => {
    const wire = pointsOf(0, 5000, 25).map((series) => ({
      ...series,
      values: series.values as number[],
      reduced: true,
      min: series.values as number[],
      max: series.values as number[],
      count: 5_000_000,
    }));
    const { container } = chart([...readCurves(wire).values()]);
    expect(container.querySelectorAll(".legend-entry")).toHaveLength(wire.length);
    expect(await drawn(INK)).toBe(true);
    expect(await drawn(BLUE)).toBe(true);
  });

  it("does not draw a hidden series, and its legend entry shows it again", async () => {
    const { props } = chart([curve("loss/total", [0, 1], [1, 2]), curve("loss/position", [0, 1], [1, 2])], {
      hidden: new Set(["loss/position"]),
    });
    expect(await drawn(INK)).toBe(true);
    expect(await drawn(BLUE)).toBe(false);
    const entry = screen.getByRole("button", { name: /Position/ });
    expect(entry.getAttribute("aria-pressed")).toBe("false");
    fireEvent.click(entry);
    expect(props.onHidden).toHaveBeenCalledWith(new Set());
  });

  it("keeps its canvas when points are appended", () => {
    const { container, rerender, props } = chart([curve("loss/total", [0, 1], [1, 2])]);
    const canvas = container.querySelector("canvas");
    rerender(<Chart {...props} curves={[curve("loss/total", [0, 1, 2], [1, 2, 3])]} />);
    expect(container.querySelector("canvas")).toBe(canvas);
    expect(container.querySelector("figure")?.dataset["lastStep"]).toBe("2");
  });

  it("resets the zoom with Escape and reads values with the arrow keys", () => {
    const { props } = chart([curve("loss/total", [0, 1, 2], [1, 2, 3])]);
    const plot = screen.getByRole("img");
    expect(plot.getAttribute("aria-label")).toContain("3 points, up to batch 2");
    fireEvent.keyDown(plot, { key: "Escape" });
    expect(props.onReset).toHaveBeenCalledOnce();
    fireEvent.keyDown(plot, { key: "ArrowRight" });
    expect(screen.getByText(/^batch \d+$/)).toBeTruthy();
  });
});
