/** The checkpoints that a run keeps, to take away. */
import { checkpointUrl } from "../../api/client";
import type { Checkpoint } from "../../api/types";
import { useNow } from "../../clock";
import { formatAge, formatBytes, formatCount, formatInstant, formatValue } from "../../format";
import { Icon } from "../../parts/icon";

export function Checkpoints({ checkpoints }: { checkpoints: readonly Checkpoint[] }) {
  const now = useNow();
  return (
    <section class="card" aria-labelledby="checkpoints-title">
      <h2 id="checkpoints-title">Checkpoints</h2>
      {checkpoints.length === 0 ? (
        <p class="quiet">None yet. The first is stored with the first evaluation.</p>
      ) : (
        <table class="table compact">
          <thead>
            <tr>
              <th scope="col">Kept as</th>
              <th scope="col" class="number">
                Batches
              </th>
              <th scope="col" class="number">
                Validation
              </th>
              <th scope="col" class="number">
                Size
              </th>
              <th scope="col">Stored</th>
              <th scope="col">
                <span class="visually-hidden">Download</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {checkpoints.map((checkpoint) => (
              <tr key={checkpoint.id}>
                <td>
                  <strong>{checkpoint.kind}</strong>
                </td>
                <td class="number">{formatCount(checkpoint.next_batch)}</td>
                <td class="number">{formatValue(checkpoint.validation)}</td>
                <td class="number">{formatBytes(checkpoint.size_bytes)}</td>
                <td title={formatInstant(checkpoint.created_at)}>{formatAge(checkpoint.created_at, now)}</td>
                <td class="cell-action">
                  <a
                    class="icon-button"
                    href={checkpointUrl(checkpoint.run, checkpoint.kind)}
                    download
                    target="_self"
                    aria-label={`Download the ${checkpoint.kind} checkpoint`}
                    title={`safetensors, SHA-256 ${checkpoint.sha256}`}
                  >
                    <Icon name="download" />
                  </a>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}
