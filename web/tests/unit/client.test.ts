import { afterEach, describe, expect, it, vi } from "vitest";
import { api, ApiError } from "../../src/api/client";

const answers = (...list: (() => Response | Promise<Response>)[]) => {
  const fetch = vi.fn(() =>
    Promise.resolve().then(list.shift() ?? (() => Promise.reject(new TypeError("down")))),
  );
  vi.stubGlobal("fetch", fetch);
  return fetch as unknown as ReturnType<typeof vi.fn>;
};
const json =
  (body: unknown, status = 200) =>
  () =>
    new Response(JSON.stringify(body), { status });

async function failure(of: Promise<unknown>): Promise<ApiError> {
  const reason: unknown = await of.then(
    () => new Error("it succeeded"),
    (error: unknown) => error,
  );
  if (!(reason instanceof ApiError)) throw new Error("not an ApiError", { cause: reason });
  return reason;
}

describe("the client", () => {
  afterEach(() => {
    vi.unstubAllGlobals();
  });

  it("asks with the filters that are set", async () => {
    const fetch = answers(json({ runs: [] }));
    await api.runs({ state: "running", q: "a b", cursor: null });
    expect(fetch.mock.calls[0]?.[0]).toBe("/api/v1/runs?state=running&q=a+b");
  });

  it("turns a problem document into its message, code and fields", async () => {
    const errors = [{ pointer: "/seed", detail: "too small" }];
    answers(
      json(
        { title: "Invalid spec", status: 422, detail: "The spec is wrong.", code: "invalid_spec", errors },
        422,
      ),
    );
    const error = await failure(api.submit({}));
    expect([error.message, error.code, error.status, error.fields]).toEqual([
      "The spec is wrong.",
      "invalid_spec",
      422,
      errors,
    ]);
  });

  it("says the status where there is no problem document", async () => {
    answers(() => new Response("<html>", { status: 418 }));
    expect((await failure(api.run("x"))).message).toBe("The coordinator answered with status 418.");
  });

  it("reads again while the coordinator restarts", async () => {
    const fetch = answers(
      () => Promise.reject(new TypeError("refused")),
      json({ title: "", status: 503, detail: "Starting.", code: "starting" }, 503),
      json({ presets: [] }),
    );
    await expect(api.presets()).resolves.toEqual({ presets: [] });
    expect(fetch).toHaveBeenCalledTimes(3);
  });

  it("never repeats a write", async () => {
    const fetch = answers();
    expect((await failure(api.cancel("x"))).code).toBe("network");
    expect(fetch).toHaveBeenCalledOnce();
  });

  it("says that an answer cannot be read", async () => {
    answers(() => new Response("{"));
    expect((await failure(api.queue())).code).toBe("unreadable");
  });
});
