import { fireEvent, render, screen } from "@testing-library/preact";
import { expect, it, vi } from "vitest";
import type { RunSummary } from "../../src/api/types";
import { RunTable } from "../../src/pages/runs/table";
import { newRun } from "../mock/world.js";

const about = { preset: "demo", seed: 0, batches: 100, saveEvery: 10, ageMs: 0, name: "a run" };
const run = { ...(newRun(about).summary as RunSummary), tags: ["two words"] };

it("says by which column it is sorted and sorts by a click on another", () => {
  const onSort = vi.fn();
  render(<RunTable runs={[run]} sort={{ by: "best_validation", descending: false }} onSort={onSort} />);
  const head = (name: string) => screen.getByRole("columnheader", { name });
  expect(head("Best validation").getAttribute("aria-sort")).toBe("ascending");
  expect(head("Loss").getAttribute("aria-sort")).toBe("none");
  expect(head("State").hasAttribute("aria-sort")).toBe(false);
  // A button, so that the keyboard reaches it.
  fireEvent.click(screen.getByRole("button", { name: "Loss" }));
  expect(onSort).toHaveBeenCalledWith("last_loss");
});

it("leads from a tag to the runs that have it", () => {
  render(<RunTable runs={[run]} sort={{ by: "created", descending: true }} onSort={() => {}} />);
  expect(screen.getByRole("link", { name: "two words" }).getAttribute("href")).toBe("/?tag=two%20words");
});
