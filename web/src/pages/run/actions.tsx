/** What a person may ask of a run where it stands: pause, resume, retry, cancel. */
import { useState } from "preact/hooks";
import { api, messageOf } from "../../api/client";
import type { RunDetail, RunSummary } from "../../api/types";
import { Dialog } from "../../parts/dialog";
import { ErrorNotice } from "../../parts/notice";

export type Wish = "pause" | "resume" | "retry" | "cancel";

/** The wishes that change something, in the order of their buttons. */
export function wishesFor(run: Pick<RunSummary, "state" | "pausing" | "not_before">, now: number): Wish[] {
  switch (run.state) {
    case "waiting":
      return ["pause", "cancel"];
    case "queued":
      return run.not_before && Date.parse(run.not_before) > now
        ? ["retry", "pause", "cancel"]
        : ["pause", "cancel"];
    case "running":
      return [run.pausing ? "resume" : "pause", "cancel"];
    case "paused":
      return ["resume", "cancel"];
    case "failed":
    case "cancelled":
    case "skipped":
      return ["retry"];
    case "succeeded":
      return [];
  }
}

export interface RunActionsProps {
  run: RunDetail;
  now: number;
  onChanged: () => void;
}

export function RunActions({ run, now, onChanged }: RunActionsProps) {
  const [sending, setSending] = useState<Wish | null>(null);
  const [error, setError] = useState<string | null>(null);
  const send = async (wish: Wish): Promise<boolean> => {
    setSending(wish);
    setError(null);
    try {
      await api[wish](run.id);
      onChanged();
      return true;
    } catch (reason: unknown) {
      setError(messageOf(reason));
      return false;
    } finally {
      setSending(null);
    }
  };
  return (
    <div class="run-actions">
      {error !== null && <ErrorNotice>{error}</ErrorNotice>}
      {wishesFor(run, now).map((wish) =>
        wish === "cancel" ? (
          <CancelButton key={wish} run={run} sending={sending !== null} onCancel={() => send("cancel")} />
        ) : (
          <button
            type="button"
            key={wish}
            class="button"
            disabled={sending !== null}
            onClick={() => void send(wish)}
          >
            {labelOf(wish, run)}
          </button>
        ),
      )}
    </div>
  );
}

function labelOf(wish: Exclude<Wish, "cancel">, run: RunDetail): string {
  switch (wish) {
    case "pause":
      return "Pause";
    case "resume":
      return run.pausing ? "Do not pause" : "Resume";
    case "retry":
      return run.state === "queued" ? "Retry now" : "Retry";
  }
}

interface CancelButtonProps {
  run: RunDetail;
  sending: boolean;
  onCancel: () => Promise<boolean>;
}

function CancelButton({ run, sending, onCancel }: CancelButtonProps) {
  const [asking, setAsking] = useState(false);
  const close = () => {
    setAsking(false);
  };
  return (
    <>
      <button
        type="button"
        class="button button-quiet"
        onClick={() => {
          setAsking(true);
        }}
      >
        Cancel run
      </button>
      {asking && (
        <Dialog title="Cancel this run?" onClose={close}>
          <p>
            <strong>{run.name}</strong> stops at the next batch; what it did since its last checkpoint is
            lost. Its curves and checkpoints stay, and a retry goes on from there. To keep all of it, pause
            the run.
          </p>
          <div class="dialog-actions">
            <button type="button" class="button" onClick={close}>
              Keep it
            </button>
            <button
              type="button"
              class="button button-danger"
              disabled={sending}
              onClick={() => {
                void onCancel().then(close);
              }}
            >
              {sending ? "Cancelling…" : "Cancel the run"}
            </button>
          </div>
        </Dialog>
      )}
    </>
  );
}
