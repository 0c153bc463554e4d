/** `/docs/problems`: what each code of a refusal means. A refusal's `type` leads to its row. */
import { useEffect, useState } from "preact/hooks";
import { api, isAbort, messageOf } from "../../api/client";
import type { ProblemKind } from "../../api/types";
import { ErrorNotice } from "../../parts/notice";

export function ProblemsPage() {
  const [problems, setProblems] = useState<readonly ProblemKind[] | null>(null);
  const [error, setError] = useState<string | null>(null);

  useEffect(() => {
    document.title = "Problems · Motif";
    const controller = new AbortController();
    api
      .problems(controller.signal)
      .then((answer) => {
        setProblems(answer.problems);
      })
      .catch((reason: unknown) => {
        if (!isAbort(reason)) setError(messageOf(reason));
      });
    return () => {
      controller.abort();
    };
  }, []);

  // The rows were not there when the browser looked for the one that the address names.
  useEffect(() => {
    if (problems !== null)
      document.getElementById(location.hash.slice(1))?.scrollIntoView({ block: "center" });
  }, [problems]);

  return (
    <div class="page docs">
      <div class="page-head">
        <h1>Problems</h1>
      </div>
      <p class="quiet docs-lead">
        A refusal is a problem document (RFC 9457): branch on its <code>code</code>, show its{" "}
        <code>detail</code>. <a href="/docs">Back to the API</a>.
      </p>
      {error !== null && <ErrorNotice>{error}</ErrorNotice>}
      {problems !== null && (
        <div class="card table-card">
          <table class="table problems">
            <thead>
              <tr>
                <th scope="col">Status</th>
                <th scope="col">Code</th>
                <th scope="col">Meaning</th>
              </tr>
            </thead>
            <tbody>
              {problems.map((problem) => (
                <tr key={problem.code} id={problem.code} data-named={location.hash === `#${problem.code}`}>
                  <td>{problem.status}</td>
                  <td>
                    <code>{problem.code}</code>
                  </td>
                  <td>
                    <strong>{problem.title}.</strong> {problem.meaning}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </div>
  );
}
