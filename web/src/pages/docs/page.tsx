/** `/docs`: the API, to read and to try, from the document that the coordinator serves. */
import { useEffect, useState } from "preact/hooks";
import { api, isAbort, messageOf } from "../../api/client";
import { ErrorNotice } from "../../parts/notice";
import { exampleOf, groupsOf, type OpenApi, type Operation } from "./document";
import { TryIt } from "./try-it";

export function DocsPage() {
  const [document_, setDocument] = useState<OpenApi | null>(null);
  const [error, setError] = useState<string | null>(null);

  useEffect(() => {
    document.title = "API · Motif";
    const controller = new AbortController();
    api
      .openapi(controller.signal)
      .then((answer) => {
        setDocument(answer as OpenApi);
      })
      .catch((reason: unknown) => {
        if (!isAbort(reason)) setError(messageOf(reason));
      });
    return () => {
      controller.abort();
    };
  }, []);

  return (
    <div class="page docs">
      <div class="page-head">
        <h1>API</h1>
      </div>
      <p class="quiet docs-lead">
        The whole of it is in <a href="/api/v1/openapi.json">openapi.json</a> (OpenAPI 3.1). A refusal is a
        problem document: <a href="/docs/problems">all their codes</a>.
      </p>
      {error !== null && <ErrorNotice>{error}</ErrorNotice>}
      {document_ !== null &&
        groupsOf(document_).map((group) => (
          <section key={group.name} aria-label={group.name} class="docs-group">
            <h2>
              {group.name} <span class="quiet">{group.description}</span>
            </h2>
            {group.operations.map((operation) => (
              <OperationCard key={operation.id} document={document_} operation={operation} />
            ))}
          </section>
        ))}
    </div>
  );
}

interface OperationCardProps {
  document: OpenApi;
  operation: Operation;
}

/** One operation; what is inside is made when it is opened. */
function OperationCard({ document, operation }: OperationCardProps) {
  const [open, setOpen] = useState(location.hash === `#${operation.id}`);
  return (
    <details
      class="card operation"
      id={operation.id}
      open={open}
      onToggle={(event) => {
        setOpen(event.currentTarget.open);
      }}
    >
      <summary>
        <span class="method" data-method={operation.method}>
          {operation.method}
        </span>
        <code>{operation.path}</code>
        <span class="quiet">{operation.summary}</span>
      </summary>
      {open && (
        <div class="operation-body">
          {operation.description !== "" && <p class="operation-text">{operation.description}</p>}
          <TryIt document={document} operation={operation} />
          <h3>Answers</h3>
          <ul class="answers">
            {operation.answers.map(([status, answer]) => (
              <li key={status}>
                <code>{status}</code>
                <span>{answer.description}</span>
                {Object.entries(answer.content ?? {}).map(([type, { schema }]) => (
                  <details key={type}>
                    <summary>
                      <code>{type}</code>
                    </summary>
                    {schema !== undefined && (
                      <pre tabIndex={0}>{JSON.stringify(exampleOf(document, schema), null, 2)}</pre>
                    )}
                  </details>
                ))}
              </li>
            ))}
          </ul>
        </div>
      )}
    </details>
  );
}
