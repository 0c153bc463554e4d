/**
 * A pretend coordinator over a pretend laboratory: serves the built dashboard under a strict content
 * security policy, the API that the pages read, and the event streams.
 */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { linesOf, logOf } from "./log.js";
import { claim, finish, firstRuns, handBack, newRun, steer, train, WORKERS } from "./world.js";

const DIST = fileURLToPath(new URL("../../dist/", import.meta.url));
const TICK_MS = 500;
const BATCHES_PER_TICK = 6;
const TYPES = /** @type {Record<string, string>} */ ({
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
});
const CSP =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** @typedef {import("./world.js").Run} Run */
/** @typedef {import("node:http").ServerResponse} Response */

/**
 * Starts a mock on a free port. Where a token is given, nobody is let in without it.
 * @param {{ empty?: boolean, port?: number, token?: string | null }} options
 */
export async function startMock({ empty = false, port = 0, token = null } = {}) {
  const door = doorOf(token);
  const first = firstRuns();
  const runs = empty ? [] : first.runs;
  /** @type {Map<Response, string | null>} */
  const listeners = new Map();
  let eventId = 0;

  /** @param {Run} run @param {string} name @param {unknown} data */
  const tell = (run, name, data) => {
    eventId += 1;
    for (const [response, id] of listeners) {
      if (id === run.summary.id || (id === null && name === "run")) {
        response.write(`id: ${eventId}\nevent: ${name}\ndata: ${JSON.stringify(data)}\n\n`);
      }
    }
  };

  const ticker = setInterval(() => {
    for (const run of runs) {
      if (run.summary.state === "queued" && run.summary.preset === "demo") claim(run, "local", 0);
      else if (run.summary.state === "running" && run.summary.preset === "demo") {
        const { added, checkpoints } = train(run, BATCHES_PER_TICK);
        tell(run, "metrics", { run: run.summary.id, series: added });
        if (checkpoints.length > 0)
          tell(run, "log", { run: run.summary.id, end: `1.${linesOf(run).length}` });
        for (const checkpoint of checkpoints) tell(run, "checkpoint", withoutContent(checkpoint));
        if (run.summary.progress.batches_done === run.summary.progress.batches_total)
          finish(run, "succeeded");
        // A worker that is to pause leaves a checkpoint with its next batch.
        else if (run.summary.pausing) handBack(run);
      } else continue;
      tell(run, "run", run.summary);
    }
  }, TICK_MS);

  const server = createServer((request, response) => {
    const url = new URL(request.url ?? "/", "http://mock");
    const path = url.pathname.replace("/api/v1", "");
    if (!url.pathname.startsWith("/api/v1/")) {
      void serveFile(url.pathname, response);
      return;
    }
    if (door.answered(request, path, response)) return;
    if (path === "/events" || path.endsWith("/events")) {
      const id = path === "/events" ? null : (path.split("/")[2] ?? "");
      response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
      response.write(": here\n\n");
      listeners.set(response, id);
      const run = runs.find((each) => each.summary.id === id);
      if (run) tell(run, "run", run.summary);
      request.on("close", () => listeners.delete(response));
      return;
    }
    void readBody(request).then((body) => {
      const answer = answerTo(request.method ?? "GET", path, url.searchParams, body, runs, tell);
      if (path.startsWith("/artifacts/") && Buffer.isBuffer(answer.body)) {
        response.writeHead(200, {
          "content-type": "application/json",
          "content-disposition": 'attachment; filename="evaluation.json"',
        });
        response.end(answer.body);
        return;
      }
      if (Buffer.isBuffer(answer.body)) {
        response.writeHead(200, {
          "content-type": "application/octet-stream",
          "content-disposition": 'attachment; filename="demo-best.safetensors"',
          etag: `"${createHash("sha256").update(answer.body).digest("hex")}"`,
        });
        response.end(answer.body);
        return;
      }
      const type = answer.status < 400 ? "application/json" : "application/problem+json";
      response.writeHead(answer.status, { "content-type": type });
      response.end(JSON.stringify(answer.body));
    });
  });
  await new Promise((resolve) => server.listen(port, "127.0.0.1", () => resolve(undefined)));
  const address = server.address();
  const url = `http://127.0.0.1:${typeof address === "object" && address ? address.port : port}`;
  return {
    url,
    /** The page of the newest run of that kind. @param {string} kind */
    pageOfKind: (kind) => `${url}/runs/${runs.find((run) => run.summary.kind === kind)?.summary.id}`,
    /** The page of the newest run in that state. @param {string} state */
    pageOf: (state) => `${url}/runs/${runs.find((run) => run.summary.state === state)?.summary.id}`,
    /** Ends every session and its streams, as revoking the token does. */
    revoke: () => {
      door.revoke();
      for (const response of listeners.keys()) response.destroy();
    },
    /** Cuts every stream, as a coordinator that restarts does. */
    cutStreams: () => {
      for (const response of listeners.keys()) response.destroy();
    },
    stop: () => {
      clearInterval(ticker);
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve(undefined)));
    },
  };
}

/**
 * Who is let in, by the rules of the coordinator.
 * @param {string | null} token
 */
function doorOf(token) {
  const sessions = new Set();
  const local = { kind: "local", name: "local", scopes: ["admin"] };
  const me = { kind: "session", name: "a reader", token: "0197", scopes: ["submit"], projects: ["arm"] };
  return {
    /**
     * Answers what is about sessions, and whoever is not let in.
     * @param {import("node:http").IncomingMessage} request @param {string} path @param {Response} response
     */
    answered(request, path, response) {
      const reply = (
        /** @type {number} */ status,
        /** @type {unknown} */ body,
        /** @type {object} */ more = {},
      ) => {
        response.writeHead(status, { "content-type": "application/json", ...more });
        response.end(body === null ? "" : JSON.stringify(body));
        return true;
      };
      const cookie = /motif_session=(\w+)/.exec(request.headers.cookie ?? "")?.[1];
      const known = token === null || sessions.has(cookie);
      const own = request.headers["x-motif-request"] !== undefined;
      if (path === "/session" && request.method === "POST") {
        void readBody(request).then((body) => {
          if (!own || body?.token !== token) {
            const refused = problem(401, "invalid_token", "The token is not known here.");
            return reply(401, refused.body);
          }
          const secret = `s${sessions.size}`;
          sessions.add(secret);
          const set = `motif_session=${secret}; Path=/; HttpOnly; SameSite=Strict`;
          return reply(201, me, { "set-cookie": set });
        });
        return true;
      }
      if (!known) return reply(401, problem(401, "token_required", "A token is needed.").body);
      if (token !== null && request.method !== "GET" && !own)
        return reply(403, problem(403, "cross_site_request", "Not from here.").body);
      if (path === "/me") return reply(200, token === null ? local : me);
      if (path === "/session") {
        sessions.delete(cookie);
        return reply(204, null);
      }
      return false;
    },
    /** Ends every session, as revoking the token does. */
    revoke() {
      sessions.clear();
    },
  };
}

/** @param {string} path @param {Response} response */
async function serveFile(path, response) {
  const asked = normalize(path).replace(/^(\.\.[/\\])+/, "");
  for (const name of [asked, "/index.html"]) {
    try {
      const content = await readFile(join(DIST, name));
      response.writeHead(200, {
        "content-type": TYPES[extname(name)] ?? "application/octet-stream",
        "content-security-policy": CSP,
      });
      response.end(content);
      return;
    } catch {
      // Every page is the one document; its script reads the address.
    }
  }
  response.writeHead(404).end("The dashboard is not built: npm run build");
}

/** @param {import("node:http").IncomingMessage} request @returns {Promise<any>} */
async function readBody(request) {
  let text = "";
  for await (const part of request) text += String(part);
  return text === "" ? null : JSON.parse(text);
}

/**
 * @param {string} method @param {string} path @param {URLSearchParams} query @param {any} body
 * @param {Run[]} runs @param {(run: Run, name: string, data: unknown) => void} tell
 * @returns {{ status: number, body: unknown }}
 */
function answerTo(method, path, query, body, runs, tell) {
  const ok = (/** @type {unknown} */ answer) => ({ status: 200, body: answer });
  const [, kind, id, what] = path.split("/");
  if (kind === "runs" && id === undefined) return ok(listOf(runs, query));
  if (kind === "queue")
    return ok(
      Object.fromEntries(
        ["waiting", "queued", "running", "paused", "succeeded", "failed", "cancelled", "skipped"].map(
          (state) => [state, runs.filter((run) => run.summary.state === state).length],
        ),
      ),
    );
  if (kind === "workers")
    return ok({
      workers: WORKERS.map((worker) => ({
        ...worker,
        last_seen_at: new Date().toISOString(),
        runs: runs
          .filter((run) => run.summary.worker === worker.name && run.summary.state === "running")
          .map((run) => run.summary.id),
      })),
    });
  if (kind === "presets")
    return ok({
      presets: firstRuns()
        .runs.slice(0, 2)
        .map(({ spec }) => ({
          id: spec.preset,
          description:
            spec.preset === "demo"
              ? "All ten tasks with a small network for a few minutes"
              : "The paper's base network",
          group: spec.preset === "demo" ? "demo" : "all_tasks",
          needs_base: false,
          spec,
        })),
    });
  if (kind === "experiments" && method === "POST") return submitted(body, runs, tell);
  if (kind === "artifacts") {
    const artifact = runs.flatMap((run) => run.artifacts).find((each) => each.id === id);
    return artifact
      ? { status: 200, body: artifact.content }
      : problem(404, "unknown_artifact", "There is no such artifact.");
  }
  const run = runs.find((each) => each.summary.id === id);
  if (kind !== "runs" || !run) return problem(404, "run_not_found", `There is no run ${id}.`);
  if (what === undefined)
    return ok({
      ...run.summary,
      spec: run.spec,
      spec_sha256: "5e1f".repeat(16),
      base: run.base,
      series: [...run.series.keys()],
      attempt_history: run.attempts,
    });
  if (what === "checkpoints" && path.endsWith("/content")) {
    const checkpoint = run.checkpoints.find((each) => each.kind === path.split("/").at(-2));
    return checkpoint
      ? { status: 200, body: checkpoint.content }
      : problem(404, "unknown_checkpoint", "The run has no such checkpoint yet.");
  }
  if (what === "checkpoints") return ok({ checkpoints: run.checkpoints.map(withoutContent) });
  if (what === "artifacts") return ok({ artifacts: run.artifacts.map(withoutContent) });
  if (what === "logs") return ok(logOf(run, query));
  if (what === "metrics")
    return ok({
      run: id,
      series: [...run.series.values()]
        .map((points) => reduced(points, query))
        .sort((a, b) => a.name.localeCompare(b.name)),
    });
  if (what === "cancel" || what === "pause" || what === "resume" || what === "retry") {
    if (what === "cancel") finish(run, "cancelled");
    else steer(run, what);
    tell(run, "run", run.summary);
    return ok(run.summary);
  }
  return problem(404, "not_found", "There is nothing here.");
}

/** @param {number} status @param {string} code @param {string} detail @param {object[]} errors */
function problem(status, code, detail, errors = []) {
  return { status, body: { type: "about:blank", title: detail, status, detail, code, errors } };
}

/** @param {any} stored */
function withoutContent(stored) {
  return { ...stored, content: undefined };
}

/** @param {Run[]} runs @param {URLSearchParams} query */
function listOf(runs, query) {
  const state = query.get("state");
  const text = (query.get("q") ?? "").toLowerCase();
  const limit = Number(query.get("limit") ?? 50);
  const tag = query.get("tag");
  const sort = query.get("sort") ?? "-created";
  const key = (/** @type {any} */ run) => {
    const took = run.finished_at ? Date.parse(run.finished_at) - Date.parse(run.started_at) : null;
    const name = sort.replace("-", "");
    const value = {
      name: run.name,
      last_loss: run.last_loss?.value,
      best_validation: run.best_validation?.value,
    };
    return name === "duration" ? took : name === "created" ? run.id : value[/** @type {"name"} */ (name)];
  };
  const matching = runs
    .map((run) => run.summary)
    .filter(
      (run) =>
        (!state || run.state === state) &&
        (!tag || run.tags.includes(tag)) &&
        `${run.name} ${run.preset}`.toLowerCase().includes(text),
    )
    .sort((a, b) => {
      const [x, y] = [key(a), key(b)];
      if (x === null || x === undefined) return y === null || y === undefined ? 0 : 1;
      if (y === null || y === undefined) return -1;
      return (x < y ? -1 : x > y ? 1 : 0) * (sort.startsWith("-") ? -1 : 1);
    });
  const from = Number(query.get("cursor") ?? 0);
  const page = matching.slice(from, from + limit);
  return { runs: page, ...(matching.length > from + limit ? { next_cursor: String(from + limit) } : {}) };
}

/** @param {any} spec @param {Run[]} runs @param {(run: Run, name: string, data: unknown) => void} tell */
function submitted(spec, runs, tell) {
  if (spec.seed !== undefined && (!Number.isInteger(spec.seed) || spec.seed < 0)) {
    return problem(422, "invalid_spec", "The spec has one problem.", [
      {
        pointer: "/seed",
        detail: "the seed is not a whole number",
        given: spec.seed,
        allowed: "an integer from 0 to 9007199254740991",
      },
    ]);
  }
  const run = newRun({
    name: spec.name ?? spec.preset,
    preset: spec.preset,
    seed: spec.seed ?? 0,
    batches: spec.training?.batches ?? 600,
    saveEvery: spec.training?.save_every ?? 25,
    ageMs: 0,
  });
  runs.unshift(run);
  tell(run, "run", run.summary);
  return {
    status: 201,
    body: {
      experiment: run.summary.experiment,
      run: run.summary,
      spec: run.spec,
      spec_sha256: "5e1f".repeat(16),
    },
  };
}

/** @param {import("./world.js").Points} points @param {URLSearchParams} query */
function reduced(points, query) {
  const from = Number(query.get("from") ?? 0);
  const to = Number(query.get("to") ?? Number.MAX_SAFE_INTEGER);
  const most = Number(query.get("points") ?? 1000);
  const inside = points.steps
    .map((step, i) => ({ step, value: points.values[i] ?? 0 }))
    .filter(({ step }) => step >= from && step <= to);
  const about = { name: points.name, count: inside.length, last_step: points.steps.at(-1) ?? null };
  if (inside.length <= most) {
    return {
      ...about,
      steps: inside.map(({ step }) => step),
      values: inside.map(({ value }) => value),
      reduced: false,
    };
  }
  const size = Math.ceil(inside.length / most);
  const buckets = Array.from({ length: Math.ceil(inside.length / size) }, (_, i) =>
    inside.slice(i * size, (i + 1) * size),
  );
  const numbers = buckets.map((bucket) => bucket.map(({ value }) => Number(value)));
  return {
    ...about,
    steps: buckets.map((bucket) => bucket[0]?.step ?? 0),
    values: numbers.map((bucket) => bucket.reduce((a, b) => a + b, 0) / bucket.length),
    min: numbers.map((bucket) => Math.min(...bucket)),
    max: numbers.map((bucket) => Math.max(...bucket)),
    reduced: true,
  };
}
