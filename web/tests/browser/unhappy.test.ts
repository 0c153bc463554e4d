/** What the dashboard does when things are missing or break, on a pretend coordinator that breaks on demand. */
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startMock } from "../mock/server.js";
import { launch } from "./chromium.js";
import { chartOf, numberOf, waitForMore, watchedPage } from "./watch";

describe("the dashboard in trouble", () => {
  let browser: Browser;
  let mock: Awaited<ReturnType<typeof startMock>>;

  beforeAll(async () => {
    browser = await launch();
    mock = await startMock();
  });

  afterAll(async () => {
    await browser.close();
    await mock.stop();
  });

  it("says how to submit where there are no runs", async () => {
    const empty = await startMock({ empty: true });
    const { page, complaints } = await watchedPage(browser);
    await page.goto(empty.url);
    await page.getByText("No runs yet").waitFor();
    await page.getByText("motif submit --preset demo --watch").waitFor();
    await page.getByRole("button", { name: "New run" }).click();
    await page.getByRole("button", { name: "Submit", exact: true }).click();
    await page.getByRole("heading", { name: "demo" }).waitFor();
    expect(complaints).toEqual([]);
    await page.context().close();
    await empty.stop();
  });

  it("shows a refused field's problem at the field", async () => {
    const { page } = await watchedPage(browser);
    await page.goto(mock.url);
    await page.getByRole("button", { name: "New run" }).click();
    await page.getByLabel("Seed").fill("minus one");
    await page.getByRole("button", { name: "Submit", exact: true }).click();
    await page.locator(".field:has(#field-seed) .field-problem").waitFor();
    await page.keyboard.press("Escape");
    expect(await page.locator("dialog").count()).toBe(0);
    await page.context().close();
  });

  it("says that the stream is lost, comes back, and draws on", async () => {
    const { page } = await watchedPage(browser);
    await page.goto(mock.pageOf("running"));
    await waitForMore(page, "Training loss", "points", 3);
    mock.cutStreams();
    await page.getByText("Connection lost, reconnecting").waitFor();
    await page.getByText("Live", { exact: true }).waitFor();
    const before = await numberOf(chartOf(page, "Training loss"), "last-step");
    await waitForMore(page, "Training loss", "last-step", before);
    await page.context().close();
  });

  it("tells why a run failed and which of its values are not finite", async () => {
    const { page, complaints } = await watchedPage(browser);
    await page.goto(mock.pageOf("failed"));
    await page.getByText("The training diverged.").waitFor();
    await page.getByText(/2 values are not finite, first at batch 312/).waitFor();
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  it("says that there is no such run, and no such page", async () => {
    const { page } = await watchedPage(browser);
    await page.goto(`${mock.url}/runs/nobody`);
    await page.getByText("There is no such run", { exact: true }).waitFor();
    await page.goto(`${mock.url}/nowhere`);
    await page.getByText("There is no such page").waitFor();
    await page.context().close();
  });
});
