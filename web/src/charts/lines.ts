/**
 * From curves to what uPlot draws: one column of steps, and for every visible series its band, its raw
 * line and, where smoothing is on, its smoothed line.
 */
import uPlot from "uplot";
import { type Curve, drawable, smooth } from "./curve";
import { colourOf, patternOf, styleOf, type Theme } from "./palette";

/** One line of the chart. */
export interface Line {
  /** The series that it belongs to. */
  readonly series: string;
  readonly role: "low" | "high" | "raw" | "smoothed";
  readonly label: string;
  readonly colour: string;
  readonly dash: number[] | null;
  readonly width: number;
  readonly opacity: number;
}

export interface Drawing {
  readonly lines: readonly Line[];
  /** Steps first, then one column per line. */
  readonly data: uPlot.AlignedData;
}

export interface DrawingOptions {
  readonly theme: Theme;
  readonly logarithmic: boolean;
  /** From 0 (off) to less than 1. */
  readonly smoothing: number;
}

const BAND_OPACITY = 0.16;
const FAINT = 0.28;

/** What to draw for these curves, in their order. Curves without points draw nothing. */
export function drawingOf(curves: readonly Curve[], options: DrawingOptions): Drawing {
  const lines: Line[] = [];
  const tables: [number[], ...(number | null)[][]][] = [];
  for (const curve of curves) {
    if (curve.steps.length === 0) continue;
    const columns: (number | null)[][] = [];
    for (const { line, values } of linesOf(curve, options)) {
      lines.push(line);
      columns.push(drawable(values, options.logarithmic));
    }
    tables.push([[...curve.steps], ...columns]);
  }
  if (tables.length === 0) return { lines: [], data: [[]] };
  return { lines, data: uPlot.join(tables as uPlot.AlignedData[]) };
}

function linesOf(curve: Curve, options: DrawingOptions): { line: Line; values: readonly number[] }[] {
  const style = styleOf(curve.name);
  const line = (role: Line["role"], width: number, opacity: number): Line => ({
    series: curve.name,
    role,
    label: style.label,
    colour: colourOf(style.hue, options.theme),
    dash: patternOf(style.dash),
    width,
    opacity,
  });
  const drawn: { line: Line; values: readonly number[] }[] = [];
  if (curve.min && curve.max) {
    drawn.push({ line: line("low", 0, BAND_OPACITY), values: curve.min });
    drawn.push({ line: line("high", 0, BAND_OPACITY), values: curve.max });
  }
  const smoothed = options.smoothing > 0;
  drawn.push({ line: line("raw", smoothed ? 1 : style.width, smoothed ? FAINT : 1), values: curve.values });
  if (smoothed) {
    drawn.push({ line: line("smoothed", style.width, 1), values: smooth(curve.values, options.smoothing) });
  }
  return drawn;
}

/** The line whose value the read-out shows for each series: the smoothed one where there is one. */
export function readOutLines(lines: readonly Line[]): { line: Line; column: number }[] {
  const shown = new Map<string, { line: Line; column: number }>();
  lines.forEach((line, i) => {
    if (line.role === "raw" || line.role === "smoothed") shown.set(line.series, { line, column: i + 1 });
  });
  return [...shown.values()];
}
