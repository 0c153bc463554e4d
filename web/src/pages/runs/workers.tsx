/** The workers in one strip: who is there, on what, and how busy. */
import { api } from "../../api/client";
import type { WorkerInfo } from "../../api/types";
import { useNow } from "../../clock";
import { formatAge } from "../../format";
import { usePolled } from "../../poll";

const POLL_MS = 4_000;
/** Workers that are gone are shown only as a number beyond this many. */
const MOST_SHOWN = 8;

export function WorkersStrip() {
  const answer = usePolled(api.workers, POLL_MS);
  const now = useNow();
  if (answer === null) return <section class="workers" aria-label="Workers" />;
  const alive = answer.workers.filter((worker) => worker.alive);
  const gone = answer.workers.length - alive.length;
  const slots = sum(alive, (worker) => worker.slots);
  const busy = sum(alive, (worker) => worker.runs.length);
  return (
    <section class="workers" aria-label="Workers">
      <p class="workers-sum">
        <strong>{alive.length}</strong> {alive.length === 1 ? "worker" : "workers"}
        <span class="quiet">
          {busy} of {slots} {slots === 1 ? "slot" : "slots"} busy
          {gone > 0 && `, ${gone} gone`}
        </span>
      </p>
      {alive.length === 0 && (
        <p class="workers-none">
          No worker is connected. Start one: <code>motif-worker run --server {location.origin}</code>
        </p>
      )}
      <ul>
        {alive.slice(0, MOST_SHOWN).map((worker) => (
          <li class="worker" key={worker.id} title={titleOf(worker, now)}>
            <span
              class="worker-dot"
              data-busy={worker.runs.length > 0}
              data-aside={Boolean(worker.set_aside)}
              aria-hidden="true"
            />
            <span class="worker-name">{worker.name}</span>
            <span class="quiet">
              {worker.device_name} · {worker.runs.length}/{worker.slots}
            </span>
            {worker.set_aside && <span class="worker-aside">set aside: {worker.set_aside.reason}</span>}
          </li>
        ))}
        {alive.length > MOST_SHOWN && <li class="quiet">and {alive.length - MOST_SHOWN} more</li>}
      </ul>
    </section>
  );
}

function titleOf(worker: WorkerInfo, now: number): string {
  const heard = `last heard of ${formatAge(worker.last_seen_at, now)}`;
  if (!worker.set_aside) return heard;
  return `gets no runs since ${formatAge(worker.set_aside.since, now)}: ${worker.set_aside.reason}; ${heard}`;
}

function sum(workers: readonly WorkerInfo[], of: (worker: WorkerInfo) => number): number {
  return workers.reduce((total, worker) => total + of(worker), 0);
}
