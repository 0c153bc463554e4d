import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    environment: "node",
    include: ["tests/browser/**/*.test.ts"],
    // A real worker has to train while these tests look on.
    testTimeout: 300_000,
    hookTimeout: 120_000,
    fileParallelism: false,
    bail: 1,
  },
});
