/** The files that a run made beside its checkpoints, to take away. */
import { artifactUrl } from "../../api/client";
import type { Artifact } from "../../api/types";
import { useNow } from "../../clock";
import { formatAge, formatBytes, formatInstant } from "../../format";
import { Icon } from "../../parts/icon";

export function Artifacts({ artifacts }: { artifacts: readonly Artifact[] }) {
  const now = useNow();
  return (
    <section class="card" aria-labelledby="artifacts-title">
      <h2 id="artifacts-title">Artifacts</h2>
      {artifacts.length === 0 ? (
        <p class="quiet">None yet. They are stored when the run has made them.</p>
      ) : (
        <table class="table compact">
          <thead>
            <tr>
              <th scope="col">File</th>
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
            {artifacts.map((artifact) => (
              <tr key={artifact.id}>
                <td>
                  <strong>{artifact.name}</strong>
                </td>
                <td class="number">{formatBytes(artifact.size_bytes)}</td>
                <td title={formatInstant(artifact.created_at)}>{formatAge(artifact.created_at, now)}</td>
                <td class="cell-action">
                  <a
                    class="icon-button"
                    href={artifactUrl(artifact.id)}
                    download
                    target="_self"
                    aria-label={`Download ${artifact.name}`}
                    title={`SHA-256 ${artifact.sha256}`}
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
