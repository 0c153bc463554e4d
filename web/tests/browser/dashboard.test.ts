/**
 * The dashboard in a real browser, on the coordinator at MOTIF_SERVER with at least one worker; without
 * MOTIF_SERVER, on a pretend one that serves `dist`.
 */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ExperimentAccepted } from "../../src/api/types";
import { colourOf } from "../../src/charts/palette";
import { startMock } from "../mock/server.js";
import { launch } from "./chromium.js";
import { chartOf, groundOf, numberOf, pixelsOf, waitForMore, watchedPage } from "./watch";

const LONG_MS = 240_000;
const DARK_GROUND = "rgb(15, 19, 24)";
const LIGHT_GROUND = "rgb(245, 246, 248)";

const given = process.env["MOTIF_SERVER"];
const mock = given === undefined ? await startMock() : null;
const base = (given ?? mock?.url ?? "").replace(/\/$/, "");
const name = `browser ${Date.now().toString(36)}`;

/** Small, so that batches come fast; long, so that it still trains when the last test looks at it. */
const SPEC = {
  preset: "demo",
  name,
  priority: 1000,
  network: { hidden: 32 },
  training: { batches: 1_000_000, batch_size: 8, save_every: 20, tasks: ["DlyHalfReach", "DlySinusoid"] },
};

describe("the dashboard", () => {
  let browser: Browser;
  let page: Page;
  let complaints: string[];
  let run = "";

  beforeAll(async () => {
    browser = await launch();
    ({ page, complaints } = await watchedPage(browser, { colorScheme: "light" }));
    await page.goto(base);
    await page.getByText("Live").waitFor();
    const response = await fetch(`${base}/api/v1/experiments`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(SPEC),
    });
    expect(response.status).toBeLessThan(300);
    run = ((await response.json()) as ExperimentAccepted).run.id;
    // Shows later that no page was ever loaded again.
    await page.evaluate(() => {
      document.documentElement.dataset["loadedOnce"] = "yes";
    });
  });

  afterAll(async () => {
    if (run !== "") await fetch(`${base}/api/v1/runs/${run}/cancel`, { method: "POST" });
    await browser.close();
    await mock?.stop();
  });

  it("lists a run as soon as it is submitted, and follows it", async () => {
    const row = page.locator(`tr[data-run="${run}"]`);
    await row.waitFor();
    expect(await row.locator(".run-link").textContent()).toBe(name);
    await row.locator('.state[data-state="running"]').waitFor({ timeout: LONG_MS });
  });

  it("finds it by its name and its state", async () => {
    await page.getByRole("searchbox").fill(name.toUpperCase());
    await page.waitForFunction(() => document.querySelectorAll("tr[data-run]").length === 1);
    await page.getByRole("button", { name: /^failed/i }).click();
    await page.getByText("No run matches.").waitFor();
    await page.getByRole("button", { name: "Show all runs" }).click();
    await page.locator(`tr[data-run="${run}"]`).waitFor();
  });

  it("draws curves that grow while it trains", async () => {
    await page.getByRole("link", { name }).click();
    const training = chartOf(page, "Training loss");
    await waitForMore(page, "Training loss", "points", 3);
    const before = await numberOf(training, "last-step");
    await waitForMore(page, "Training loss", "last-step", before + 3);
    await page.waitForTimeout(100);
    expect(await pixelsOf(training, colourOf("ink", "light"))).toBeGreaterThan(100);
    expect(await page.evaluate(() => document.documentElement.dataset["loadedOnce"])).toBe("yes");
  });

  it("draws validation curves", async () => {
    await waitForMore(page, "Validation", "points", 1);
    await page.waitForTimeout(100);
    expect(await pixelsOf(chartOf(page, "Validation"), colourOf("blue", "light"))).toBeGreaterThan(20);
  });

  it("changes the scale and smooths", async () => {
    const log = page.getByRole("button", { name: "Log", exact: true });
    const training = chartOf(page, "Training loss");
    await log.click();
    expect(await log.getAttribute("aria-pressed")).toBe("true");
    await training.locator("canvas").waitFor();

    const inkBefore = await pixelsOf(chartOf(page, "Gradient norm"), colourOf("vermillion", "light"));
    await page.getByRole("slider").fill("0.9");
    expect(await page.locator(".slider output").textContent()).toBe("0.90");
    await page.waitForTimeout(100);
    const inkAfter = await pixelsOf(chartOf(page, "Gradient norm"), colourOf("vermillion", "light"));
    expect(inkAfter).toBeGreaterThan(0);
    expect(inkAfter).not.toBe(inkBefore);
    await page.getByRole("slider").fill("0");
    await page.getByRole("button", { name: "Linear" }).click();
  });

  it("hides a series and shows it again", async () => {
    const training = chartOf(page, "Training loss");
    const entry = training.getByRole("button", { name: /Position/ });
    await entry.click();
    await page.waitForTimeout(100);
    expect(await pixelsOf(training, colourOf("blue", "light"))).toBe(0);
    await entry.click();
    await page.waitForTimeout(100);
    expect(await pixelsOf(training, colourOf("blue", "light"))).toBeGreaterThan(20);
  });

  it("zooms by a drag, fetches that range, and comes back", async () => {
    const over = chartOf(page, "Training loss").locator(".u-over");
    await over.scrollIntoViewIfNeeded();
    const box = await over.boundingBox();
    if (box === null) throw new Error("the chart has no size");
    const asked = page.waitForRequest((request) => /\/metrics\?.*from=\d+&to=\d+/.test(request.url()));
    await page.mouse.move(box.x + box.width * 0.2, box.y + 40);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.7, box.y + 60, { steps: 8 });
    await page.mouse.up();
    await asked;
    await page.getByRole("button", { name: /Reset zoom/ }).click();
    await page.getByText("Drag over a chart to zoom").waitFor();
  });

  it("reads values at the pointer", async () => {
    const training = chartOf(page, "Training loss");
    await training.locator(".u-over").hover();
    // Thousands are set apart by spaces.
    await training.getByText(/^batch [\d\s]+$/).waitFor();
  });

  it("hands out checkpoints whose bytes are those that were stored", async () => {
    const link = page.getByRole("link", { name: "Download the best checkpoint" });
    await link.waitFor({ timeout: LONG_MS });
    const etag = async () =>
      (await fetch(await link.evaluate((a) => (a as HTMLAnchorElement).href))).headers.get("etag");
    // A better one may take its place meanwhile; then once more.
    for (let tries = 1; ; tries++) {
      const before = await etag();
      const [download] = await Promise.all([page.waitForEvent("download"), link.click()]);
      const file = await readFile(await download.path());
      const after = await etag();
      expect(download.suggestedFilename()).toMatch(/\.safetensors$/);
      expect(file.length).toBeGreaterThan(1_000);
      if (before === after) {
        expect(`"${createHash("sha256").update(file).digest("hex")}"`).toBe(before);
        return;
      }
      expect(tries).toBeLessThan(10);
    }
  });

  it("is dark where that is wanted, and light where the reader says so", async () => {
    expect(await groundOf(page)).toBe(LIGHT_GROUND);
    await page.emulateMedia({ colorScheme: "dark" });
    expect(await groundOf(page)).toBe(DARK_GROUND);
    await page.waitForTimeout(200);
    expect(await pixelsOf(chartOf(page, "Training loss"), colourOf("ink", "dark"))).toBeGreaterThan(50);
    await page.getByRole("button", { name: "Use light colours" }).click();
    expect(await groundOf(page)).toBe(LIGHT_GROUND);
  });

  it("does not scroll sideways on a narrow screen", async () => {
    for (const width of [360, 768]) {
      await page.setViewportSize({ width, height: 800 });
      await page.waitForTimeout(200);
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width);
    }
    await page.setViewportSize({ width: 1280, height: 900 });
  });

  it("cancels a run, but only when that is confirmed", async () => {
    await page.getByRole("button", { name: "Cancel run" }).click();
    await page.getByRole("button", { name: "Keep it" }).click();
    expect(await page.locator(".run-head .state").getAttribute("data-state")).toBe("running");
    await page.getByRole("button", { name: "Cancel run" }).click();
    await page.getByRole("button", { name: "Cancel the run" }).click();
    await page.locator('.run-head .state[data-state="cancelled"]').waitFor();
  });

  it("still shows the curves of an ended run when its page is opened anew", async () => {
    await page.reload();
    await waitForMore(page, "Training loss", "points", 3);
  });

  it("gave the browser nothing to complain about", () => {
    expect(complaints).toEqual([]);
  });
});
