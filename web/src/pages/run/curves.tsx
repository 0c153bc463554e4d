/** The curves of a run: which charts there are, and the controls that they share. */
import { useState } from "preact/hooks";
import type { RunDetail } from "../../api/types";
import { Chart } from "../../charts/chart";
import type { Curve, Curves, StepRange } from "../../charts/curve";
import { formatCount } from "../../format";
import { recall, remember } from "../../remember";
import { useTheme } from "../../theme";
import { isOver } from "./use-run";

interface Panel {
  readonly title: string;
  readonly unit: string;
  readonly holds: (series: string) => boolean;
  readonly hiddenAtFirst: readonly string[];
  readonly emptyText: string;
  readonly height: number;
  /** Whether the scale of values may be logarithmic. */
  readonly scalable: boolean;
}

const PANELS: readonly Panel[] = [
  {
    title: "Training loss",
    unit: "",
    holds: (series) => series.startsWith("loss/"),
    hiddenAtFirst: ["loss/rate", "loss/weight", "loss/muscle", "loss/dynamics"],
    emptyText: "The first batches draw here.",
    height: 300,
    scalable: true,
  },
  {
    title: "Validation",
    unit: "m from the goal",
    holds: (series) => series.startsWith("validation/"),
    hiddenAtFirst: [],
    emptyText: "The first evaluation draws here.",
    height: 300,
    scalable: true,
  },
  {
    title: "Gradient norm",
    unit: "",
    holds: (series) => series === "grad_norm",
    hiddenAtFirst: [],
    emptyText: "The first batches draw here.",
    height: 160,
    scalable: true,
  },
  {
    title: "Speed",
    unit: "batches/s",
    holds: (series) => series.startsWith("throughput/"),
    hiddenAtFirst: [],
    emptyText: "The first batches draw here.",
    height: 160,
    scalable: false,
  },
];

const MOST_SMOOTHING = 0.99;

export interface CurvePanelsProps {
  run: RunDetail;
  /** `null` until the first answer. */
  curves: Curves | null;
  range: StepRange | null;
  onRange: (range: StepRange | null) => void;
}

export function CurvePanels({ run, curves, range, onRange }: CurvePanelsProps) {
  const theme = useTheme();
  const [logarithmic, setLogarithmic] = useState(() => recall("scale") === "log");
  const [smoothing, setSmoothing] = useState(() => smoothingFrom(recall("smoothing")));
  const reset = () => {
    onRange(null);
  };
  return (
    <section aria-label="Curves">
      <div class="curve-controls">
        <h2>Curves</h2>
        <div class="segmented" role="group" aria-label="Scale of values">
          {[false, true].map((log) => (
            <button
              type="button"
              key={String(log)}
              aria-pressed={logarithmic === log}
              onClick={() => {
                setLogarithmic(log);
                remember("scale", log ? "log" : "linear");
              }}
            >
              {log ? "Log" : "Linear"}
            </button>
          ))}
        </div>
        <label class="slider">
          <span>Smoothing</span>
          <input
            type="range"
            min="0"
            max={MOST_SMOOTHING}
            step="0.01"
            value={smoothing}
            onInput={(event) => {
              const next = smoothingFrom(event.currentTarget.value);
              setSmoothing(next);
              remember("smoothing", String(next));
            }}
          />
          <output>{smoothing.toFixed(2)}</output>
        </label>
        {range === null ? (
          <span class="quiet zoom-hint">Drag over a chart to zoom</span>
        ) : (
          <button type="button" class="button" onClick={reset}>
            Reset zoom ({formatCount(range.from)} to {formatCount(range.to)})
          </button>
        )}
      </div>
      <div class="charts">
        {PANELS.map((panel) => (
          <PanelChart
            key={panel.title}
            panel={panel}
            curves={curves}
            emptyText={emptyText(panel, run, curves, range)}
            common={{
              range,
              onZoom: onRange,
              onReset: reset,
              logarithmic: logarithmic && panel.scalable,
              smoothing,
              theme,
              syncKey: run.id,
            }}
          />
        ))}
      </div>
    </section>
  );
}

type Common = Pick<
  Parameters<typeof Chart>[0],
  "range" | "onZoom" | "onReset" | "logarithmic" | "smoothing" | "theme" | "syncKey"
>;

interface PanelChartProps {
  panel: Panel;
  curves: Curves | null;
  emptyText: string;
  common: Common;
}

function PanelChart({ panel, curves, emptyText, common }: PanelChartProps) {
  const key = `hidden.${panel.title}`;
  const [hidden, setHidden] = useState<ReadonlySet<string>>(
    () => new Set(recall(key)?.split(",") ?? panel.hiddenAtFirst),
  );
  const held: Curve[] = [...(curves?.values() ?? [])].filter((curve) => panel.holds(curve.name));
  return (
    <div class="card chart-card">
      <Chart
        {...common}
        title={panel.title}
        unit={panel.unit}
        curves={held}
        hidden={hidden}
        onHidden={(next) => {
          setHidden(next);
          remember(key, [...next].join(","));
        }}
        emptyText={emptyText}
        height={panel.height}
      />
    </div>
  );
}

function emptyText(panel: Panel, run: RunDetail, curves: Curves | null, range: StepRange | null): string {
  if (curves === null) return "Loading…";
  if (range !== null) return "No points between these batches.";
  if (isOver(run)) return "The run wrote no points.";
  return run.state === "queued" ? "The run waits for a worker." : panel.emptyText;
}

function smoothingFrom(text: string | null): number {
  const value = Number(text ?? "0");
  return Number.isFinite(value) ? Math.min(Math.max(value, 0), MOST_SMOOTHING) : 0;
}
