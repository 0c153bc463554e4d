/** The legend of a chart: shows values, and shows or hides series. */
import { formatValue } from "../format";
import { colourOf, patternOf, styleOf, type Theme } from "./palette";

export interface LegendProps {
  series: readonly string[];
  hidden: ReadonlySet<string>;
  onHidden: (hidden: ReadonlySet<string>) => void;
  /** Values at the cursor, or the newest. */
  values: ReadonlyMap<string, number | null>;
  theme: Theme;
}

/** Labels of more letters get wider columns. */
const WORDY = 18;

export function Legend({ series, hidden, onHidden, values, theme }: LegendProps) {
  const toggle = (name: string) => {
    const next = new Set(hidden);
    if (!next.delete(name)) next.add(name);
    onHidden(next);
  };
  return (
    <div class="legend">
      <ul data-wordy={series.some((name) => styleOf(name).label.length > WORDY)}>
        {series.map((name) => {
          const style = styleOf(name);
          const shown = !hidden.has(name);
          return (
            <li key={name}>
              <button
                type="button"
                class="legend-entry"
                aria-pressed={shown}
                title={shown ? `Hide ${name}` : `Show ${name}`}
                onClick={() => {
                  toggle(name);
                }}
              >
                <svg class="swatch" viewBox="0 0 22 8" aria-hidden="true">
                  <line
                    x1="1"
                    x2="21"
                    y1="4"
                    y2="4"
                    stroke={colourOf(style.hue, theme)}
                    stroke-width={style.width + 1}
                    stroke-dasharray={patternOf(style.dash)?.join(" ")}
                  />
                </svg>
                <span class="legend-label">{style.label}</span>
                <span class="legend-value">{shown ? formatValue(values.get(name)) : ""}</span>
              </button>
            </li>
          );
        })}
      </ul>
      {series.length > 2 && (
        <div class="legend-all">
          <button
            type="button"
            class="link"
            onClick={() => {
              onHidden(new Set());
            }}
          >
            Show all
          </button>
          <button
            type="button"
            class="link"
            onClick={() => {
              onHidden(new Set(series.slice(1)));
            }}
          >
            Only {styleOf(series[0] ?? "").label.toLowerCase()}
          </button>
        </div>
      )}
    </div>
  );
}
