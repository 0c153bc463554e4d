/// <reference types="vitest/config" />
import { defineConfig, type ProxyOptions } from "vite";

// `npm run dev` shows the pages of a coordinator that runs elsewhere.
const coordinator = process.env["MOTIF_SERVER"] ?? "http://127.0.0.1:8080";

const proxy: Record<string, ProxyOptions> = {
  "/api": {
    target: coordinator,
    changeOrigin: true,
    // The coordinator refuses writes that come from pages of other origins.
    configure: (server) => {
      server.on("proxyReq", (request) => {
        request.removeHeader("origin");
      });
    },
  },
};

export default defineConfig({
  esbuild: { jsx: "automatic", jsxImportSource: "preact" },
  build: {
    target: "es2022",
    // Inlined assets would be data: URLs, which the content security policy refuses.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: { proxy },
  preview: { proxy },
  test: {
    environment: "jsdom",
    include: ["tests/unit/**/*.test.{ts,tsx}"],
    setupFiles: ["tests/unit/setup.ts"],
  },
});
