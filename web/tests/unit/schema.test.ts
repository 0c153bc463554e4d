import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import openapiTS, { astToString, COMMENT_HEADER } from "openapi-typescript";
import { expect, it } from "vitest";

const web = join(dirname(fileURLToPath(import.meta.url)), "../..");

it("the types are those of proto/openapi.json (else: npm run schema)", async () => {
  const document = await readFile(join(web, "../proto/openapi.json"), "utf8");
  const generated = COMMENT_HEADER + astToString(await openapiTS(document));
  expect(await readFile(join(web, "src/api/schema.d.ts"), "utf8")).toBe(generated);
});
