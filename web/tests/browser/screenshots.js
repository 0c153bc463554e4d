/**
 * Pictures of the list and of a run's page, light and dark, wide and narrow:
 *
 *     npm run screenshots -- FOLDER
 *
 * of the coordinator at MOTIF_SERVER, or of a pretend one.
 */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { startMock } from "../mock/server.js";
import { launch } from "./chromium.js";

const folder = process.argv[2];
if (folder === undefined) {
  console.error("Name a folder: npm run screenshots -- FOLDER");
  process.exit(1);
}
await mkdir(folder, { recursive: true });

const given = process.env["MOTIF_SERVER"];
const mock = given ? null : await startMock();
const base = given ?? mock?.url ?? "";
const browser = await launch();
try {
  for (const theme of /** @type {const} */ (["light", "dark"])) {
    for (const [size, width] of /** @type {const} */ ([
      ["wide", 1440],
      ["narrow", 420],
    ])) {
      const page = await browser.newPage({ colorScheme: theme, viewport: { width, height: 900 } });
      await page.goto(base);
      await page.locator("a.run-link").first().waitFor();
      await page.screenshot({ path: join(folder, `runs-${theme}-${size}.png`) });
      await page.locator("a.run-link").first().click();
      await page.locator(".chart canvas").first().waitFor();
      await page.waitForTimeout(600);
      await page.screenshot({ path: join(folder, `run-${theme}-${size}.png`), fullPage: true });
      for (const kind of mock ? ["evaluate", "transfer"] : []) {
        await page.goto(mock?.pageOfKind(kind) ?? "");
        await page.locator(".heat, .chart canvas").first().waitFor();
        await page.waitForTimeout(600);
        await page.screenshot({ path: join(folder, `${kind}-${theme}-${size}.png`), fullPage: true });
      }
      await page.close();
    }
  }
} finally {
  await browser.close();
  await mock?.stop();
}
console.log(`Pictures of ${base} lie in ${folder}`);
