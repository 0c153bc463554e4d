/** Notices: what went wrong and what can be done about it. */
import type { ComponentChildren } from "preact";
import type { StreamState } from "../live";
import { Icon } from "./icon";

export function ErrorNotice({ children, onRetry }: { children: ComponentChildren; onRetry?: () => void }) {
  return (
    <div class="notice notice-error" role="alert">
      <Icon name="failed" />
      <div class="notice-text">{children}</div>
      {onRetry && (
        <button type="button" class="button" onClick={onRetry}>
          Try again
        </button>
      )}
    </div>
  );
}

/** Says whether what the page shows is kept up to date. */
export function LiveMark({ state, ended = false }: { state: StreamState; ended?: boolean }) {
  if (ended) return null;
  const text = { connecting: "Connecting", live: "Live", lost: "Connection lost, reconnecting" }[state];
  return (
    <span class="live" data-live={state} role="status">
      <span class="live-dot" aria-hidden="true" />
      {text}
    </span>
  );
}
