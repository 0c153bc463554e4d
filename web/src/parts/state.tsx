/** A run's or an attempt's state: icon, word and colour, so that no one of them has to say it alone. */
import type { AttemptState, RunState } from "../api/types";
import { Icon } from "./icon";

export function StateBadge({ state }: { state: RunState | AttemptState }) {
  return (
    <span class="state" data-state={state}>
      <Icon name={state} filled={state === "running"} />
      {state}
    </span>
  );
}
