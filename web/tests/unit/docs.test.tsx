import { readFileSync } from "node:fs";
import { fireEvent, render, screen, waitFor } from "@testing-library/preact";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { addressOf, exampleOf, groupsOf, type OpenApi } from "../../src/pages/docs/document";
import { DocsPage } from "../../src/pages/docs/page";

const document_ = JSON.parse(readFileSync("../proto/openapi.json", "utf8")) as OpenApi;
const operations = groupsOf(document_).flatMap((group) => group.operations);
const find = (id: string) => operations.find((operation) => operation.id === id)!;

describe("the API's document", () => {
  it("gives every operation under its tag, with all its answers", () => {
    expect(operations.length).toBe(
      Object.values(document_.paths).reduce((sum, item) => sum + Object.keys(item).length, 0),
    );
    const show = find("show_run");
    expect([show.method, show.path]).toEqual(["get", "/api/v1/runs/{id}"]);
    for (const [status, answer] of operations.flatMap((operation) => operation.answers)) {
      expect(answer.description, status).toBeTypeOf("string");
    }
  });

  it("writes an example of any body and answer", () => {
    for (const { bodySchema, answers } of operations) {
      exampleOf(document_, bodySchema);
      for (const [, answer] of answers)
        for (const { schema } of Object.values(answer.content ?? {})) exampleOf(document_, schema);
    }
    expect(exampleOf(document_, { $ref: "#/components/schemas/StepValue" })).toEqual({ step: 0, value: 0 });
  });

  it("puts parameters where they belong", () => {
    expect(addressOf(find("show_run"), { id: "a/b" })).toBe("/api/v1/runs/a%2Fb");
    expect(addressOf(find("list_runs"), { where: "seed=1\nlast_loss<1", q: "", sort: "name" })).toBe(
      "/api/v1/runs?where=seed%3D1&where=last_loss%3C1&sort=name",
    );
  });
});

describe("the API's page", () => {
  beforeEach(() => {
    vi.stubGlobal(
      "fetch",
      vi.fn((path: string) =>
        Promise.resolve(
          path.endsWith("openapi.json")
            ? new Response(JSON.stringify(document_))
            : new Response('{"queued":3}', { status: 200, headers: { etag: '"x"' } }),
        ),
      ),
    );
  });
  afterEach(() => {
    vi.unstubAllGlobals();
  });

  it("sends a request and shows its answer", async () => {
    const { container } = render(<DocsPage />);
    await waitFor(() => expect(container.querySelector("#queue_counts")).not.toBeNull());
    const card = container.querySelector<HTMLDetailsElement>("#queue_counts")!;
    card.open = true;
    fireEvent(card, new Event("toggle"));
    fireEvent.click(await screen.findByRole("button", { name: "Send" }));
    expect((await screen.findByText(/"queued": 3/)).textContent).toContain("queued");
    expect(screen.getByText(/etag: "x"/)).toBeTruthy();
  });
});
