/** A browser's page under watch: everything that it complains about is kept. */
import type { Browser, BrowserContextOptions, Locator, Page } from "playwright-core";

export interface Watched {
  page: Page;
  /** Console errors, exceptions, refused requests and policy violations. */
  complaints: string[];
}

export async function watchedPage(browser: Browser, options: BrowserContextOptions = {}): Promise<Watched> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("response", (response) => {
    if (response.status() >= 400) complaints.push(`${response.status()} ${response.url()}`);
  });
  return { page, complaints };
}

/** The chart of that title. */
export function chartOf(page: Page, title: string): Locator {
  return page.locator(`figure[data-chart="${title}"]`);
}

/** A number that a chart says about itself: how many points it has, or the newest step. */
export async function numberOf(chart: Locator, name: "points" | "last-step"): Promise<number> {
  return Number(await chart.getAttribute(`data-${name}`));
}

/** Waits until a chart's number is more than `least`. */
export async function waitForMore(
  page: Page,
  title: string,
  name: "points" | "last-step",
  least: number,
): Promise<void> {
  await page.waitForFunction(
    ([wanted, attribute, than]) => {
      const figure = document.querySelector(`figure[data-chart="${wanted}"]`);
      return Number(figure?.getAttribute(`data-${attribute}`)) > Number(than);
    },
    [title, name, least] as const,
    { timeout: 240_000 },
  );
}

/** How many pixels of a chart's canvas have about that colour, given as `#rrggbb`. */
export function pixelsOf(chart: Locator, colour: string): Promise<number> {
  return chart.locator("canvas").evaluate((element, hex) => {
    const canvas = element as HTMLCanvasElement;
    const data = canvas.getContext("2d")?.getImageData(0, 0, canvas.width, canvas.height).data ?? [];
    const wanted = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
    let found = 0;
    for (let i = 0; i < data.length; i += 4) {
      const near = wanted.every((channel, c) => Math.abs((data[i + c] ?? 0) - channel) < 24);
      if (near && (data[i + 3] ?? 0) > 200) found += 1;
    }
    return found;
  }, colour);
}

/** The colour behind everything, as the browser computes it. */
export function groundOf(page: Page): Promise<string> {
  return page.evaluate(() => getComputedStyle(document.body).backgroundColor);
}
