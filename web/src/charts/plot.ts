/** uPlot's options for a drawing: scales, axes, bands, and what the mouse does. */
import uPlot from "uplot";
import type { StepRange } from "./curve";
import type { Drawing, Line } from "./lines";
import { formatCount, formatValue } from "../format";

export interface PlotColours {
  readonly text: string;
  readonly grid: string;
  readonly ground: string;
}

export interface PlotOptions {
  readonly width: number;
  readonly height: number;
  readonly logarithmic: boolean;
  readonly colours: PlotColours;
  /** Batches to show; where absent, all there are. */
  readonly range: () => StepRange | null;
  /** Charts of the same key share the cursor. */
  readonly syncKey: string;
  readonly onZoom: (range: StepRange) => void;
  readonly onReset: () => void;
  /** Position in the data that the cursor is at. */
  readonly onHover: (index: number | null) => void;
}

const FONT = '12px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';
/** A shorter drag is a click. */
const SHORTEST_DRAG_PX = 6;

/** Everything that uPlot has to know but the data. */
export function plotOptions(drawing: Drawing, options: PlotOptions): uPlot.Options {
  return {
    width: options.width,
    height: options.height,
    legend: { show: false },
    scales: {
      x: { time: false, range: (_, low, high) => stepScale(options.range(), low, high) },
      y: {
        distr: options.logarithmic ? 3 : 1,
        range: (_, low, high) => valueScale(low, high, options.logarithmic),
      },
    },
    axes: [
      axis(options.colours, { size: 32, space: 80, values: (_, steps) => steps.map(stepLabel) }),
      axis(options.colours, {
        size: 62,
        space: options.logarithmic ? 22 : 36,
        values: (_, values) =>
          values.map((value) =>
            value === null || (options.logarithmic && !isRound(value)) ? "" : axisValue(value),
          ),
      }),
    ],
    series: [{}, ...drawing.lines.map((line) => lineSeries(line, options.colours))],
    bands: bandsOf(drawing.lines),
    cursor: {
      y: false,
      sync: { key: options.syncKey, setSeries: false },
      drag: { x: true, y: false, setScale: false, dist: SHORTEST_DRAG_PX },
      points: { size: 7 },
      bind: {
        dblclick: () => () => {
          options.onReset();
          return null;
        },
      },
    },
    hooks: {
      setCursor: [
        (plot) => {
          options.onHover(plot.cursor.idx ?? null);
        },
      ],
      setSelect: [
        (plot) => {
          if (plot.select.width < SHORTEST_DRAG_PX) return;
          const from = Math.floor(plot.posToVal(plot.select.left, "x"));
          const to = Math.ceil(plot.posToVal(plot.select.left + plot.select.width, "x"));
          plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          if (to > from) options.onZoom({ from: Math.max(0, from), to });
        },
      ],
    },
  };
}

/** The steps shown: the range asked for, else all; never of no width. */
export function stepScale(
  range: StepRange | null,
  low: number | null,
  high: number | null,
): uPlot.Range.MinMax {
  if (range !== null) return [range.from, range.to];
  if (low === null || high === null) return [0, 1];
  return low === high ? [low - 0.5, low + 0.5] : [low, high];
}

/** The values shown, with a little room; for one value alone, room around it. */
export function valueScale(
  low: number | null,
  high: number | null,
  logarithmic: boolean,
): uPlot.Range.MinMax {
  if (low === null || high === null) return logarithmic ? [0.1, 1] : [0, 1];
  if (logarithmic) {
    const room = low === high ? 2 : Math.max((high / low) ** 0.06, 1.02);
    return [clearOfDecade(low / room), high * room];
  }
  const room = low === high ? Math.abs(low) / 2 || 1 : (high - low) * 0.06;
  const bottom = low >= 0 ? Math.max(0, low - room) : low - room;
  return [bottom, high + room];
}

/**
 * The lower end of a logarithmic scale, kept from lying just below a power of ten: from there uPlot's search for ticks
 * rounds past that power, then to 0, and never ends.
 */
function clearOfDecade(low: number): number {
  const decade = 10 ** Math.floor(Math.log10(low));
  return Math.min(low, 9 * decade);
}

function axis(colours: PlotColours, more: Partial<uPlot.Axis>): uPlot.Axis {
  return {
    stroke: colours.text,
    font: FONT,
    gap: 6,
    grid: { stroke: colours.grid, width: 1 },
    ticks: { stroke: colours.grid, width: 1, size: 5 },
    ...more,
  };
}

function stepLabel(step: number): string {
  return Number.isInteger(step) ? formatCount(step) : "";
}

/** Whether a value has one significant digit; a logarithmic axis begins where its scale does, which has not. */
function isRound(value: number): boolean {
  return Math.abs(Number(value.toPrecision(1)) / value - 1) < 1e-9;
}

function axisValue(value: number): string {
  return value === 0
    ? "0"
    : formatValue(Number(value.toPrecision(3)))
        .replace(/(\.\d*?)0+(?=e|$)/, "$1")
        .replace(/\.(?=e|$)/, "");
}

function lineSeries(line: Line, colours: PlotColours): uPlot.Series {
  const band = line.role === "low" || line.role === "high";
  const base: uPlot.Series = {
    label: line.label,
    stroke: band ? "transparent" : withOpacity(line.colour, line.opacity),
    width: line.width,
    points:
      band || line.opacity < 1 ? { show: false } : { size: 5, space: 14, width: 1.5, fill: colours.ground },
  };
  return line.dash ? { ...base, dash: line.dash } : base;
}

/** uPlot fills between two series; ours are each curve's greatest and least values. */
function bandsOf(lines: readonly Line[]): uPlot.Band[] {
  const bands: uPlot.Band[] = [];
  lines.forEach((line, i) => {
    if (line.role === "high") {
      bands.push({ series: [i + 1, i], fill: withOpacity(line.colour, line.opacity) });
    }
  });
  return bands;
}

/** `#rrggbb` with an opacity from 0 to 1. */
export function withOpacity(hex: string, opacity: number): string {
  if (opacity >= 1) return hex;
  const channel = (at: number) => parseInt(hex.slice(at, at + 2), 16);
  return `rgba(${channel(1)}, ${channel(3)}, ${channel(5)}, ${opacity})`;
}
