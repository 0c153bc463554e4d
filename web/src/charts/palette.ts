/**
 * Colours and dashes of series.
 *
 * The hues are Okabe and Ito's, which people with any of the common colour-vision deficiencies can tell
 * apart, lightened on dark ground. There are ten tasks and only so many hues, so the tasks go in pairs:
 * the hue says which motion it is, the dash whether it is the half (solid) or the full one (dashed).
 */
export type Theme = "light" | "dark";

export interface SeriesStyle {
  readonly label: string;
  /** A hue of {@link HUES}. */
  readonly hue: Hue;
  readonly dashed: boolean;
  readonly width: number;
}

const HUES = {
  ink: { light: "#1b2430", dark: "#e9edf2" },
  blue: { light: "#0072b2", dark: "#56b4e9" },
  orange: { light: "#c98600", dark: "#f0b53c" },
  vermillion: { light: "#d55e00", dark: "#ff8d4d" },
  green: { light: "#009e73", dark: "#2fd0a3" },
  purple: { light: "#b3578f", dark: "#e59cc6" },
  grey: { light: "#6b7684", dark: "#98a3b1" },
} as const;

export type Hue = keyof typeof HUES;

/** The colour of a hue on the theme's ground. */
export function colourOf(hue: Hue, theme: Theme): string {
  return HUES[hue][theme];
}

const style = (label: string, hue: Hue, dashed = false, width = 1.5): SeriesStyle => ({
  label,
  hue,
  dashed,
  width,
});

const STYLES: Readonly<Record<string, SeriesStyle>> = {
  "loss/total": style("Total", "ink", false, 2),
  "loss/position": style("Position", "blue"),
  "loss/rate": style("Rate", "orange"),
  "loss/weight": style("Weight", "vermillion"),
  "loss/muscle": style("Muscle", "green"),
  "loss/dynamics": style("Dynamics", "purple", true),
  grad_norm: style("Gradient norm", "vermillion"),
  "throughput/batches_per_second": style("Batches per second", "green"),
  "validation/total": style("All tasks", "ink", false, 2.5),
  "validation/DlyHalfReach": style("Half reach", "blue"),
  "validation/DlyFullReach": style("Full reach", "blue", true),
  "validation/DlyHalfCircleClk": style("Half circle ↻", "orange"),
  "validation/DlyFullCircleClk": style("Full circle ↻", "orange", true),
  "validation/DlyHalfCircleCClk": style("Half circle ↺", "vermillion"),
  "validation/DlyFullCircleCClk": style("Full circle ↺", "vermillion", true),
  "validation/DlySinusoid": style("Sinusoid", "green"),
  "validation/DlyFigure8": style("Figure eight", "green", true),
  "validation/DlySinusoidInv": style("Sinusoid inv.", "purple"),
  "validation/DlyFigure8Inv": style("Figure eight inv.", "purple", true),
};

const ORDER = Object.keys(STYLES);

/** How a series is drawn; one that is not known gets grey and its own name. */
export function styleOf(series: string): SeriesStyle {
  return STYLES[series] ?? style(series, "grey");
}

/** Series in the order of legends: the known ones first, the rest by name. */
export function inLegendOrder(series: Iterable<string>): string[] {
  const rank = (name: string) => {
    const position = ORDER.indexOf(name);
    return position < 0 ? ORDER.length : position;
  };
  return [...series].sort((a, b) => rank(a) - rank(b) || a.localeCompare(b));
}
