/** Asks for a token, and begins a session with it. */
import { useContext, useEffect, useState } from "preact/hooks";
import { messageOf } from "../api/client";
import { ErrorNotice } from "../parts/notice";
import { SessionContext } from "../session";

export function SignInPage() {
  const { signIn } = useContext(SessionContext);
  const [token, setToken] = useState("");
  const [problem, setProblem] = useState<string | null>(null);
  const [waiting, setWaiting] = useState(false);

  useEffect(() => {
    document.title = "Sign in · Motif";
  }, []);

  const submit = async () => {
    setWaiting(true);
    setProblem(null);
    try {
      await signIn(token.trim());
    } catch (reason) {
      setProblem(messageOf(reason));
      setWaiting(false);
    }
  };

  return (
    <div class="page sign-in">
      <form
        class="card"
        onSubmit={(event) => {
          event.preventDefault();
          void submit();
        }}
      >
        <h1>Sign in</h1>
        <p class="quiet">This coordinator lets in whoever has a token.</p>
        {problem !== null && <ErrorNotice>{problem}</ErrorNotice>}
        <div class="field">
          <label for="token">Token</label>
          <input
            id="token"
            type="password"
            autocomplete="current-password"
            placeholder="motif_…"
            required
            autofocus
            spellcheck={false}
            value={token}
            onInput={(event) => {
              setToken(event.currentTarget.value);
            }}
          />
          <p class="hint">This browser stays signed in for a week. The token itself is not kept in it.</p>
        </div>
        <button type="submit" class="button button-primary" disabled={waiting || token.trim() === ""}>
          {waiting ? "Signing in…" : "Sign in"}
        </button>
        <details>
          <summary>No token yet?</summary>
          <p>Whoever runs the coordinator makes one on its machine:</p>
          <pre>
            <code>motif-server token create --scope submit --name NAME</code>
          </pre>
        </details>
      </form>
    </div>
  );
}
