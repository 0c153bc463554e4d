/** Which workers tried the run, and how it went. */
import type { Attempt } from "../../api/types";
import { useNow } from "../../clock";
import { formatCount, formatDuration, formatInstant } from "../../format";
import { StateBadge } from "../../parts/state";

export function Attempts({ attempts }: { attempts: readonly Attempt[] }) {
  const now = useNow();
  return (
    <section class="card" aria-labelledby="attempts-title">
      <h2 id="attempts-title">Attempts</h2>
      {attempts.length === 0 ? (
        <p class="quiet">None yet. The run waits for a worker.</p>
      ) : (
        <table class="table compact">
          <thead>
            <tr>
              <th scope="col" class="number">
                #
              </th>
              <th scope="col">State</th>
              <th scope="col">Worker</th>
              <th scope="col" class="number">
                From batch
              </th>
              <th scope="col">Took</th>
            </tr>
          </thead>
          <tbody>
            {[...attempts].reverse().map((attempt) => (
              <tr key={attempt.id}>
                <td class="number">{attempt.number}</td>
                <td>
                  <StateBadge state={attempt.state} />
                  {attempt.failure && <span class="run-failure">{attempt.failure.message}</span>}
                </td>
                <td class="cell-worker">{attempt.worker_name}</td>
                <td class="number">{formatCount(attempt.first_batch)}</td>
                <td title={formatInstant(attempt.started_at)}>{tookOf(attempt, now)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}

function tookOf(attempt: Attempt, now: number): string {
  const end = attempt.finished_at ? Date.parse(attempt.finished_at) : now;
  return formatDuration((end - Date.parse(attempt.started_at)) / 1000);
}
