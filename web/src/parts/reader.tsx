/** Says who is signed in, and signs out. */
import { useContext, useState } from "preact/hooks";
import { SessionContext } from "../session";

export function Reader() {
  const { me, signOut } = useContext(SessionContext);
  const [leaving, setLeaving] = useState(false);
  if (me === null) return null;
  if (me.kind === "local") {
    return (
      <span class="reader quiet" title="Programs of this machine need no token">
        This machine
      </span>
    );
  }
  const projects = me.projects ? `, ${me.projects.join(", ")}` : "";
  return (
    <span class="reader">
      <span class="reader-name" title={`${me.scopes.join(", ")}${projects}`}>
        {me.name}
      </span>
      <span class="tag">{me.scopes.join(", ")}</span>
      {me.kind === "session" && (
        <button
          type="button"
          class="button button-quiet"
          disabled={leaving}
          onClick={() => {
            setLeaving(true);
            void signOut()
              .catch(() => undefined)
              .finally(() => {
                setLeaving(false);
              });
          }}
        >
          Sign out
        </button>
      )}
    </span>
  );
}
