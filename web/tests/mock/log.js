/** The log of a pretended run: what its worker would have written by now. */

/** @typedef {import("./world.js").Run} Run */

const LEVELS = ["trace", "debug", "info", "warn", "error"];

/** @param {Run} run */
export function linesOf(run) {
  const { progress, started_at: started, state } = run.summary;
  if (!started) return [];
  const every = run.spec.training?.save_every ?? 25;
  /** @type {{ level: string, message: string, fields: Record<string, string> }[]} */
  const said = [
    { level: "info", message: "attempt started", fields: { device: "two cores", worker: "local" } },
    { level: "info", message: "training", fields: { first_batch: "0", name: run.summary.name } },
  ];
  for (let batch = every; batch <= progress.batches_done; batch += every) {
    const loss = 0.4 * Math.exp(-batch / 300) + 0.1;
    said.push(
      {
        level: "info",
        message: `evaluated: ${loss.toFixed(5)} m over 10 tasks, the best so far`,
        fields: { batch: String(batch - 1), validation: String(loss) },
      },
      {
        level: "info",
        message: "checkpoint kept",
        fields: { batches: String(batch), kind: "best", size_bytes: "1213444" },
      },
    );
    if (batch === 4 * every)
      said.push({
        level: "warn",
        message: "cannot send; training goes on",
        fields: { error: "cannot reach the coordinator: connection refused", retry_in: "431ms" },
      });
  }
  if (state === "succeeded") said.push({ level: "info", message: "succeeded", fields: {} });
  if (state === "failed")
    said.push({
      level: "error",
      message: "failed: loss/rate is not finite in batch 412",
      fields: { class: "diverged" },
    });
  return said.map((line, sequence) => ({
    attempt: 1,
    sequence,
    time: new Date(Date.parse(started) + sequence * 1_431).toISOString(),
    target: "motif_worker::report",
    ...line,
  }));
}

/** A page of it, as the coordinator gives it. @param {Run} run @param {URLSearchParams} query */
export function logOf(run, query) {
  const all = linesOf(run);
  const level = LEVELS.indexOf(query.get("level") ?? "trace");
  const text = (query.get("search") ?? "").toLowerCase();
  const limit = Number(query.get("limit") ?? 500);
  const place = (/** @type {string} */ cursor) =>
    cursor === "end" ? all.length : Number(cursor.split(".")[1]);
  const wanted = all.filter(
    (line) => LEVELS.indexOf(line.level) >= level && JSON.stringify(line).toLowerCase().includes(text),
  );
  const before = query.get("before");
  if (before !== null) {
    const older = wanted.filter((line) => line.sequence < place(before));
    const lines = older.slice(-limit);
    return {
      lines,
      after: `1.${place(before)}`,
      more: false,
      ...(older.length > limit ? { before: `1.${lines[0]?.sequence}` } : {}),
    };
  }
  const newer = wanted.filter((line) => line.sequence >= place(query.get("after") ?? "1.0"));
  const lines = newer.slice(0, limit);
  const more = newer.length > limit;
  return { lines, after: more ? `1.${(lines.at(-1)?.sequence ?? 0) + 1}` : `1.${all.length}`, more };
}
