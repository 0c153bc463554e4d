/** A run's or an attempt's state: icon, word and colour, so that no one of them has to say it alone. */
import type { AttemptState, RunState } from "../api/types";
import { Icon } from "./icon";

export interface StateBadgeProps {
  state: RunState | AttemptState;
  /** Whether a running run is about to be paused. */
  pausing?: boolean | undefined;
}

export function StateBadge({ state, pausing = false }: StateBadgeProps) {
  return (
    <span class="state" data-state={state}>
      <Icon name={pausing ? "paused" : state} filled={state === "running" && !pausing} />
      {pausing ? "pausing" : state}
    </span>
  );
}
