/**
 * Colours and dashes of series.
 *
 * The hues are Okabe and Ito's, which people with any of the common colour-vision deficiencies can tell
 * apart, lightened on dark ground. There are more tasks than hues. Of the ten tasks the hue says which motion it is,
 * the dash whether it is the half (solid) or the full one (dashed). Of the composable pairs the hue is that of the
 * way there, the dash that of the way back.
 */
export type Theme = "light" | "dark";

export interface SeriesStyle {
  readonly label: string;
  /** A hue of {@link HUES}. */
  readonly hue: Hue;
  readonly dash: Dash;
  readonly width: number;
}

/** Lengths of dashes and gaps in pixels; none for a solid line. */
const DASHES = {
  solid: null,
  dashed: [7, 4],
  dotted: [2, 3],
  dashDot: [8, 3, 2, 3],
  longDash: [14, 4],
} as const;

export type Dash = keyof typeof DASHES;

/** The pattern of a line. */
export function patternOf(dash: Dash): number[] | null {
  const pattern = DASHES[dash];
  return pattern === null ? null : [...pattern];
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

const style = (label: string, hue: Hue, dash: Dash = "solid", width = 1.5): SeriesStyle => ({
  label,
  hue,
  dash,
  width,
});

/** The way there of a composable pair, in the order of the rules. */
const FORWARD: Readonly<Record<string, readonly [string, Hue]>> = {
  halfreach: ["Half reach", "blue"],
  halfcircleclk: ["Half circle ↻", "orange"],
  halfcirclecclk: ["Half circle ↺", "vermillion"],
  sinusoid: ["Sinusoid", "green"],
  sinusoidinv: ["Sinusoid inv.", "purple"],
};

/** The way back. */
const BACKWARD: Readonly<Record<string, readonly [string, Dash]>> = {
  fullreach: ["reach", "solid"],
  fullcircleclk: ["circle ↻", "dashed"],
  fullcirclecclk: ["circle ↺", "dotted"],
  figure8: ["eight", "dashDot"],
  figure8inv: ["eight inv.", "longDash"],
};

function pairStyles(): [string, SeriesStyle][] {
  return Object.entries(FORWARD).flatMap(([forward, [there, hue]]) =>
    Object.entries(BACKWARD).map(([backward, [back, dash]]): [string, SeriesStyle] => [
      `validation/forward_${forward}+backward_${backward}`,
      style(`${there} + ${back}`, hue, dash),
    ]),
  );
}

const STYLES: Readonly<Record<string, SeriesStyle>> = {
  "loss/total": style("Total", "ink", "solid", 2),
  "loss/position": style("Position", "blue"),
  "loss/imitation": style("Imitation", "blue"),
  "loss/rate": style("Rate", "orange"),
  "loss/weight": style("Weight", "vermillion"),
  "loss/muscle": style("Muscle", "green"),
  "loss/dynamics": style("Dynamics", "purple", "dashed"),
  grad_norm: style("Gradient norm", "vermillion"),
  "throughput/batches_per_second": style("Batches per second", "green"),
  "validation/total": style("All tasks", "ink", "solid", 2.5),
  "validation/DlyHalfReach": style("Half reach", "blue"),
  "validation/DlyFullReach": style("Full reach", "blue", "dashed"),
  "validation/DlyHalfCircleClk": style("Half circle ↻", "orange"),
  "validation/DlyFullCircleClk": style("Full circle ↻", "orange", "dashed"),
  "validation/DlyHalfCircleCClk": style("Half circle ↺", "vermillion"),
  "validation/DlyFullCircleCClk": style("Full circle ↺", "vermillion", "dashed"),
  "validation/DlySinusoid": style("Sinusoid", "green"),
  "validation/DlyFigure8": style("Figure eight", "green", "dashed"),
  "validation/DlySinusoidInv": style("Sinusoid inv.", "purple"),
  "validation/DlyFigure8Inv": style("Figure eight inv.", "purple", "dashed"),
  ...Object.fromEntries(pairStyles()),
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

/** A task in words for people. */
export function taskLabel(task: string): string {
  const known = STYLES[`validation/${task}`];
  return known === undefined ? task : known.label;
}
