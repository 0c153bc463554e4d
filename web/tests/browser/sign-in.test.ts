/** Who is let into the dashboard, on a pretend coordinator that asks for a token. */
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startMock } from "../mock/server.js";
import { launch } from "./chromium.js";
import { watchedPage } from "./watch";

const TOKEN = "motif_0123456789";

describe("signing in", () => {
  let browser: Browser;
  let mock: Awaited<ReturnType<typeof startMock>>;

  beforeAll(async () => {
    browser = await launch();
    mock = await startMock({ token: TOKEN });
  });

  afterAll(async () => {
    await browser.close();
    await mock.stop();
  });

  it("asks for a token, says when it opens nothing, and then shows the page that was asked for", async () => {
    const { page } = await watchedPage(browser);
    await page.goto(mock.pageOf("running"));
    await page.getByLabel("Token").fill("motif_wrong");
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByText("The token is not known here.").waitFor();
    await page.getByLabel("Token").fill(` ${TOKEN} `);
    await page.keyboard.press("Enter");
    await page.locator(".chart canvas").first().waitFor();
    await page.getByText("Live", { exact: true }).waitFor();
    await page.locator(".reader", { hasText: "a reader" }).waitFor();
    const kept = await page.evaluate(
      () =>
        JSON.stringify([document.cookie, { ...localStorage }, { ...sessionStorage }, location.href]) +
        document.body.innerHTML,
    );
    expect(kept).not.toContain(TOKEN);
    await page.reload();
    await page.locator(".chart canvas").first().waitFor();
    await page.context().close();
  });

  it("signs out, and leaves nothing to go back to", async () => {
    const { page } = await watchedPage(browser);
    await page.goto(mock.url);
    await page.getByLabel("Token").fill(TOKEN);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.locator("a.run-link").first().waitFor();
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByLabel("Token").waitFor();
    expect(await page.getByLabel("Token").inputValue()).toBe("");
    await page.reload();
    await page.getByLabel("Token").waitFor();
    await page.context().close();
  });

  it("notices that the token was revoked while a page was open", async () => {
    const { page } = await watchedPage(browser);
    await page.goto(mock.pageOf("running"));
    await page.getByLabel("Token").fill(TOKEN);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByText("Live", { exact: true }).waitFor();
    mock.revoke();
    await page.getByLabel("Token").waitFor();
    await page.context().close();
  });
});
