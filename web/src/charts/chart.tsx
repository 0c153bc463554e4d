/** A chart of curves with its legend: a function of the curves and of how to show them. */
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { formatCount } from "../format";
import { type Curve, type NotFinite, notFinite, type StepRange } from "./curve";
import { Legend } from "./legend";
import { type Drawing, drawingOf, readOutLines } from "./lines";
import { inLegendOrder, styleOf, type Theme } from "./palette";
import { plotOptions } from "./plot";

export interface ChartProps {
  title: string;
  /** What the values are, such as `m`; empty where they have no unit. */
  unit: string;
  curves: readonly Curve[];
  hidden: ReadonlySet<string>;
  onHidden: (hidden: ReadonlySet<string>) => void;
  range: StepRange | null;
  onZoom: (range: StepRange) => void;
  onReset: () => void;
  logarithmic: boolean;
  smoothing: number;
  theme: Theme;
  syncKey: string;
  /** What to say where there are no points. */
  emptyText: string;
  height?: number;
}

const HEIGHT_PX = 280;

export function Chart(props: ChartProps) {
  const { curves, hidden, logarithmic, smoothing, theme } = props;
  const [hovered, setHovered] = useState<number | null>(null);

  const ordered = useMemo(() => {
    const byName = new Map(curves.map((curve) => [curve.name, curve]));
    return inLegendOrder(byName.keys()).flatMap((name) => byName.get(name) ?? []);
  }, [curves]);
  const drawing = useMemo(() => {
    // The last drawn lies on top: the total, which comes first in the legend.
    const visible = ordered.filter((curve) => !hidden.has(curve.name)).reverse();
    return drawingOf(visible, { theme, logarithmic, smoothing });
  }, [ordered, hidden, theme, logarithmic, smoothing]);

  const points = Math.max(0, ...ordered.map((curve) => curve.steps.length));
  const lastStep = Math.max(-1, ...ordered.map((curve) => curve.steps.at(-1) ?? -1));
  const steps = drawing.data[0];
  const at = hovered !== null && hovered < steps.length ? hovered : null;
  const readOut = new Map(
    readOutLines(drawing.lines).map(({ line, column }) => [
      line.series,
      at === null ? lastOf(drawing.data[column]) : (drawing.data[column]?.[at] ?? null),
    ]),
  );

  return (
    <figure class="chart" data-chart={props.title} data-points={points} data-last-step={lastStep}>
      <figcaption class="chart-head">
        <h3>
          {props.title}
          {props.unit !== "" && <span class="unit"> / {props.unit}</span>}
        </h3>
        <span class="read-out-step" aria-live="off">
          {points > 0 &&
            (at === null ? `batch ${formatCount(lastStep)}, newest` : `batch ${formatCount(steps[at] ?? 0)}`)}
        </span>
      </figcaption>
      <Plot
        {...props}
        drawing={drawing}
        summary={summaryOf(props.title, points, lastStep)}
        onHover={setHovered}
      />
      {points > 0 && (
        <Legend
          series={ordered.map((curve) => curve.name)}
          hidden={hidden}
          onHidden={props.onHidden}
          values={readOut}
          theme={theme}
        />
      )}
      <NotFiniteNotes curves={ordered} />
    </figure>
  );
}

function summaryOf(title: string, points: number, lastStep: number): string {
  if (points === 0) return `${title}: no points yet`;
  return `${title}: ${points} points, up to batch ${lastStep}. Arrow keys read values, Escape resets the zoom.`;
}

function lastOf(column: ArrayLike<number | null | undefined> | undefined): number | null {
  for (let i = (column?.length ?? 0) - 1; i >= 0; i -= 1) {
    const value = column?.[i];
    if (value !== null && value !== undefined) return value;
  }
  return null;
}

function NotFiniteNotes({ curves }: { curves: readonly Curve[] }) {
  const notes = curves
    .map((curve) => ({ name: curve.name, found: notFinite(curve) }))
    .filter((note): note is { name: string; found: NotFinite } => note.found !== null);
  if (notes.length === 0) return null;
  return (
    <p class="chart-note" role="note">
      {notes
        .map(
          ({ name, found }) =>
            `${styleOf(name).label}: ${formatCount(found.count)} ${found.count === 1 ? "value is" : "values are"} ` +
            `not finite, first at batch ${formatCount(found.first)}`,
        )
        .join(" · ")}
    </p>
  );
}

interface PlotProps extends ChartProps {
  drawing: Drawing;
  summary: string;
  onHover: (index: number | null) => void;
}

/** The canvas. uPlot is made anew when lines or scales change, and only given data when they do not. */
function Plot(props: PlotProps) {
  const { drawing, theme, logarithmic, range, emptyText, height = HEIGHT_PX } = props;
  const holder = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const newest = useRef(props);
  newest.current = props;
  const empty = drawing.lines.length === 0;
  const structure = JSON.stringify([drawing.lines, theme, logarithmic, height]);

  useEffect(() => {
    const element = holder.current;
    if (element === null || empty) return;
    const current = newest.current;
    const made = new uPlot(
      plotOptions(current.drawing, {
        width: element.clientWidth || 600,
        height,
        logarithmic: current.logarithmic,
        colours: coloursOf(element),
        range: () => newest.current.range,
        syncKey: current.syncKey,
        onZoom: (zoomed) => {
          newest.current.onZoom(zoomed);
        },
        onReset: () => {
          newest.current.onReset();
        },
        onHover: (index) => {
          newest.current.onHover(index);
        },
      }),
      current.drawing.data,
      element,
    );
    plot.current = made;
    const observer = new ResizeObserver(() => {
      if (element.clientWidth > 0 && element.clientWidth !== made.width) {
        made.setSize({ width: element.clientWidth, height });
      }
    });
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [structure, empty, height]);

  useEffect(() => {
    plot.current?.setData(drawing.data, true);
  }, [drawing, range]);

  return (
    <div
      class="plot"
      ref={holder}
      role="img"
      aria-label={props.summary}
      tabIndex={empty ? -1 : 0}
      data-empty={empty}
      onKeyDown={(event) => {
        if (event.key === "Escape") props.onReset();
        const towards = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
        if (towards === 0 || plot.current === null) return;
        event.preventDefault();
        moveCursor(plot.current, towards);
      }}
    >
      {empty && <p class="plot-empty">{emptyText}</p>}
    </div>
  );
}

function moveCursor(plot: uPlot, towards: number): void {
  const steps = plot.data[0];
  const from = plot.cursor.idx ?? (towards > 0 ? -1 : steps.length);
  const index = Math.min(Math.max(from + towards, 0), steps.length - 1);
  plot.setCursor({ left: plot.valToPos(steps[index] ?? 0, "x"), top: 1 });
}

function coloursOf(element: Element) {
  const style = getComputedStyle(element);
  const colour = (name: string, otherwise: string) => style.getPropertyValue(name).trim() || otherwise;
  return {
    text: colour("--chart-text", "#5b6472"),
    grid: colour("--chart-grid", "#e3e7ec"),
    ground: colour("--surface", "#ffffff"),
  };
}
