/**
 * The page of an evaluation in a real browser, on the coordinator at MOTIF_SERVER with at least one worker; without
 * MOTIF_SERVER, on a pretend one that serves `dist`.
 */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ArtifactList, ExperimentAccepted, RunDetail } from "../../src/api/types";
import { startMock } from "../mock/server.js";
import { launch } from "./chromium.js";
import { chartOf, waitForMore, type Watched, watchedPage } from "./watch";

const LONG_MS = 240_000;
const POLL_MS = 200;

const given = process.env["MOTIF_SERVER"];
const mock = given === undefined ? await startMock() : null;
const base = (given ?? mock?.url ?? "").replace(/\/$/, "");

async function submit(spec: object): Promise<string> {
  const response = await fetch(`${base}/api/v1/experiments`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ priority: 1000, ...spec }),
  });
  expect(response.status).toBe(201);
  return ((await response.json()) as ExperimentAccepted).run.id;
}

async function succeeded(run: string): Promise<string> {
  const deadline = Date.now() + LONG_MS;
  for (;;) {
    const response = await fetch(`${base}/api/v1/runs/${run}`);
    const { state } = (await response.json()) as RunDetail;
    if (state === "succeeded") return run;
    if (state === "failed" || Date.now() > deadline) throw new Error(`run ${run} is ${state}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** The addresses of an evaluation's page and of its base's. */
async function pages(): Promise<{ evaluation: string; trained: string }> {
  if (mock !== null) {
    const evaluation = mock.pageOfKind("evaluate");
    const response = await fetch(evaluation.replace("/runs/", "/api/v1/runs/"));
    const detail = (await response.json()) as RunDetail;
    return { evaluation, trained: `${base}/runs/${detail.base?.run ?? ""}` };
  }
  const training = { batches: 2, batch_size: 2, save_every: 1, tasks: ["DlyHalfReach", "DlyFigure8"] };
  const run = await succeeded(await submit({ name: "measured later", network: { hidden: 8 }, training }));
  const measured = await succeeded(await submit({ name: "measured", kind: "evaluate", base: run }));
  return { evaluation: `${base}/runs/${measured}`, trained: `${base}/runs/${run}` };
}

describe("the page of an evaluation", () => {
  let browser: Browser;
  let watched: Watched;
  let addresses: { evaluation: string; trained: string };

  beforeAll(async () => {
    browser = await launch();
    watched = await watchedPage(browser, { colorScheme: "light" });
    addresses = await pages();
    await watched.page.goto(addresses.evaluation);
  }, LONG_MS);

  afterAll(async () => {
    await browser.close();
    await mock?.stop();
  });

  it("shows a cell for every task at every speed, the cells in different colours", async () => {
    const cells = watched.page.locator(".heat-cell");
    await cells.first().waitFor({ timeout: LONG_MS });
    const rows = await watched.page.locator(".heat tbody tr").count();
    expect(await cells.count()).toBe(10 * rows);
    const colours = await cells.evaluateAll((all) =>
      all.map((cell) => getComputedStyle(cell).backgroundColor),
    );
    expect(new Set(colours).size).toBeGreaterThan(3);
  });

  it("stays readable in the dark", async () => {
    for (const scheme of ["light", "dark"] as const) {
      await watched.page.emulateMedia({ colorScheme: scheme });
      expect(await watched.page.locator(".heat-cell").evaluateAll(leastContrast)).toBeGreaterThan(4.5);
    }
  });

  it("hands out the table's files", async () => {
    const link = watched.page.getByRole("link", { name: "Download evaluation.json" });
    const [download] = await Promise.all([watched.page.waitForEvent("download"), link.click()]);
    const digest = createHash("sha256")
      .update(await readFile(await download.path()))
      .digest("hex");
    expect(download.suggestedFilename()).toBe("evaluation.json");
    const response = await fetch(`${addresses.evaluation.replace("/runs/", "/api/v1/runs/")}/artifacts`);
    const { artifacts } = (await response.json()) as ArtifactList;
    expect(artifacts.find((artifact) => artifact.name === "evaluation.json")?.sha256).toBe(digest);
  });

  it("does not scroll sideways on a narrow screen", async () => {
    await watched.page.setViewportSize({ width: 400, height: 800 });
    const wide = await watched.page.evaluate(() => document.documentElement.scrollWidth);
    expect(wide).toBeLessThanOrEqual(400);
    await watched.page.setViewportSize({ width: 1280, height: 900 });
  });

  it("leads to the run that it measured", async () => {
    await watched.page.locator(".run-sub a").click();
    await watched.page.waitForURL(addresses.trained);
    await waitForMore(watched.page, "Validation", "points", 1);
    expect(await chartOf(watched.page, "Validation").count()).toBe(1);
  });

  it("gave the browser nothing to complain about", () => {
    expect(watched.complaints).toEqual([]);
  });
});

/** The least contrast of text and ground among elements (WCAG 2). Runs in the page. */
function leastContrast(elements: Element[]): number {
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (context === null) return 0;
  const luminance = (colour: string) => {
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    const [red = 0, green = 0, blue = 0] = context.getImageData(0, 0, 1, 1).data;
    const linear = (channel: number) => {
      const share = channel / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    };
    return 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
  };
  const contrasts = elements.map((element) => {
    const style = getComputedStyle(element);
    const [ink, ground] = [luminance(style.color), luminance(style.backgroundColor)];
    return (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
  });
  return Math.min(...contrasts);
}
