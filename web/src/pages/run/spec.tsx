/** The spec of a run with every field filled in, to read and to copy. */
import { useState } from "preact/hooks";
import type { RunDetail } from "../../api/types";
import { Icon } from "../../parts/icon";

const SAID_MS = 2_000;

export function Spec({ run }: { run: RunDetail }) {
  return (
    <section class="card" aria-labelledby="spec-title">
      <div class="card-head">
        <h2 id="spec-title">Spec</h2>
        <CopyButton text={JSON.stringify(run.spec, null, 2)} />
      </div>
      <div class="spec">
        {specTables(run.spec).map((table) => (
          <div key={table.title}>
            <h3>{table.title}</h3>
            <dl>
              {table.rows.map(([name, value]) => (
                <div key={name}>
                  <dt>{name}</dt>
                  <dd>{value}</dd>
                </div>
              ))}
            </dl>
          </div>
        ))}
      </div>
      <p class="quiet digest">
        SHA-256 <code>{run.spec_sha256}</code>
      </p>
    </section>
  );
}

interface SpecTable {
  readonly title: string;
  readonly rows: readonly (readonly [string, string])[];
}

/** The spec by its tables, fields under the names that specs use; nested ones joined with a dot. */
export function specTables(spec: object): SpecTable[] {
  const own: [string, string][] = [];
  const tables: SpecTable[] = [];
  for (const [name, value] of Object.entries(spec)) {
    if (isTable(value)) tables.push({ title: name, rows: rowsOf("", value) });
    else own.push([name, written(value)]);
  }
  return [{ title: "experiment", rows: own }, ...tables];
}

function rowsOf(prefix: string, table: object): [string, string][] {
  return Object.entries(table).flatMap(([name, value]): [string, string][] =>
    isTable(value) ? rowsOf(`${prefix}${name}.`, value) : [[prefix + name, written(value)]],
  );
}

function isTable(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function written(value: unknown): string {
  if (Array.isArray(value)) return value.length === 0 ? "none" : value.map(written).join(", ");
  if (value === null || value === undefined) return "none";
  return typeof value === "string" ? value : JSON.stringify(value);
}

function CopyButton({ text }: { text: string }) {
  const [said, setSaid] = useState<string | null>(null);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setSaid("Copied");
    } catch {
      setSaid("The browser does not allow it");
    }
    setTimeout(() => {
      setSaid(null);
    }, SAID_MS);
  };
  return (
    <button type="button" class="button" onClick={() => void copy()}>
      <Icon name="copy" /> <span aria-live="polite">{said ?? "Copy JSON"}</span>
    </button>
  );
}
