/** What is typed into the dialog of a new run, and the spec that it stands for. */
import type { FieldProblem } from "../../api/types";

/** The fields as they are typed. */
export interface Draft {
  readonly preset: string;
  /** The run or checkpoint to start from, where the preset needs one. */
  readonly base: string;
  readonly name: string;
  readonly seed: string;
  readonly batches: string;
  readonly hidden: string;
}

export const EMPTY_DRAFT: Draft = { preset: "", base: "", name: "", seed: "", batches: "", hidden: "" };

const POINTERS: Readonly<Record<string, keyof Draft>> = {
  "/preset": "preset",
  "/base": "base",
  "/name": "name",
  "/seed": "seed",
  "/training/batches": "batches",
  "/network/hidden": "hidden",
};

/** The spec: only what was typed, the preset fills in the rest and the coordinator judges all of it. */
export function specOf(draft: Draft): Record<string, unknown> {
  const spec: Record<string, unknown> = { preset: draft.preset };
  if (draft.base.trim() !== "") spec["base"] = draft.base.trim();
  if (draft.name.trim() !== "") spec["name"] = draft.name.trim();
  if (draft.seed.trim() !== "") spec["seed"] = numberOrText(draft.seed);
  if (draft.batches.trim() !== "") spec["training"] = { batches: numberOrText(draft.batches) };
  if (draft.hidden.trim() !== "") spec["network"] = { hidden: numberOrText(draft.hidden) };
  return spec;
}

/** What is no number goes out as it was typed, so that the refusal shows it. */
function numberOrText(typed: string): number | string {
  const text = typed.replace(/[\s\u202f,]/g, "");
  const value = Number(text);
  return text !== "" && Number.isFinite(value) ? value : typed;
}

/** The problems by the field that they belong to. */
export function problemsOf(
  problems: readonly FieldProblem[],
): Record<keyof Draft | "others", readonly FieldProblem[]> {
  const at = (place: keyof Draft | "others") =>
    problems.filter((problem) => (POINTERS[problem.pointer] ?? "others") === place);
  return {
    preset: at("preset"),
    base: at("base"),
    name: at("name"),
    seed: at("seed"),
    batches: at("batches"),
    hidden: at("hidden"),
    others: at("others"),
  };
}
