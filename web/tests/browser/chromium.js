/** Starts the distribution's Chromium, with nothing that asks the network for anything of its own. */
import { chromium } from "playwright-core";

const EXECUTABLE = process.env["MOTIF_CHROMIUM"] ?? "/usr/bin/chromium";

export function launch() {
  const root = process.getuid?.() === 0;
  return chromium.launch({
    executablePath: EXECUTABLE,
    args: [
      "--headless",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      ...(root ? ["--no-sandbox"] : []),
    ],
  });
}
