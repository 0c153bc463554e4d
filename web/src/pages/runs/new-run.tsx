/** The dialog that submits an experiment from a preset. */
import { useLocation } from "preact-iso";
import { useEffect, useState } from "preact/hooks";
import { api, ApiError, messageOf } from "../../api/client";
import type { FieldProblem, PresetGroup, PresetInfo, RunSummary } from "../../api/types";
import { formatCount } from "../../format";
import { Dialog } from "../../parts/dialog";
import { ErrorNotice } from "../../parts/notice";
import { type Draft, EMPTY_DRAFT, problemsOf, specOf } from "./draft";

export function NewRunDialog({ onClose }: { onClose: () => void }) {
  const { route } = useLocation();
  const [presets, setPresets] = useState<readonly PresetInfo[] | null>(null);
  const [draft, setDraft] = useState<Draft>(EMPTY_DRAFT);
  const [error, setError] = useState<ApiError | string | null>(null);
  const [sending, setSending] = useState(false);

  useEffect(() => {
    const controller = new AbortController();
    api
      .presets(controller.signal)
      .then((answer) => {
        setPresets(answer.presets);
        setDraft((old) => ({ ...old, preset: old.preset || (answer.presets[0]?.id ?? "") }));
      })
      .catch((reason: unknown) => {
        if (!controller.signal.aborted) setError(messageOf(reason));
      });
    return () => {
      controller.abort();
    };
  }, []);

  const submit = (event: Event) => {
    event.preventDefault();
    setSending(true);
    setError(null);
    api
      .submit(specOf(draft))
      .then((accepted) => {
        route(`/runs/${accepted.run.id}`);
      })
      .catch((reason: unknown) => {
        setError(reason instanceof ApiError ? reason : messageOf(reason));
        setSending(false);
      });
  };

  const problems = error instanceof ApiError ? problemsOf(error.fields) : null;
  const preset = presets?.find((each) => each.id === draft.preset);
  const change = (part: Partial<Draft>) => {
    setDraft({ ...draft, ...part });
  };
  return (
    <Dialog title="New run" onClose={onClose}>
      <form onSubmit={submit} noValidate>
        <Field name="preset" label="Preset" problems={problems?.preset}>
          <select
            id="field-preset"
            value={draft.preset}
            onChange={(event) => {
              change({ preset: event.currentTarget.value, base: "" });
            }}
          >
            {groupsOf(presets ?? []).map(([group, members]) => (
              <optgroup key={group} label={HEADINGS[group]}>
                {members.map((each) => (
                  <option key={each.id} value={each.id}>
                    {each.id}
                  </option>
                ))}
              </optgroup>
            ))}
          </select>
          {preset && <p class="hint">{preset.description}.</p>}
        </Field>
        {preset?.needs_base && (
          <BaseField draft={draft} preset={preset} problems={problems?.base} onDraft={change} />
        )}
        <Field name="name" label="Name" problems={problems?.name}>
          <TextInput name="name" draft={draft} placeholder={draft.preset} onDraft={change} />
        </Field>
        <div class="field-row">
          <Field name="seed" label="Seed" problems={problems?.seed}>
            <TextInput name="seed" draft={draft} placeholder="0" numeric onDraft={change} />
          </Field>
          <Field name="batches" label="Batches" problems={problems?.batches}>
            <TextInput
              name="batches"
              draft={draft}
              placeholder={preset?.spec?.training ? formatCount(preset.spec.training.batches) : ""}
              numeric
              onDraft={change}
            />
          </Field>
          <Field name="hidden" label="Hidden units" problems={problems?.hidden}>
            <TextInput
              name="hidden"
              draft={draft}
              placeholder={preset?.spec ? String(preset.spec.network.hidden) : ""}
              numeric
              onDraft={change}
            />
          </Field>
        </div>
        {error !== null && <Refusal error={error} others={problems?.others ?? []} />}
        <div class="dialog-actions">
          <button type="button" class="button" onClick={onClose}>
            Close
          </button>
          <button type="submit" class="button button-primary" disabled={sending || presets === null}>
            {sending ? "Submitting…" : "Submit"}
          </button>
        </div>
      </form>
    </Dialog>
  );
}

const HEADINGS: Readonly<Record<PresetGroup, string>> = {
  demo: "Try it",
  all_tasks: "All ten tasks",
  subsets: "Some of the tasks",
  transfers: "Transfers: new rule inputs, all else frozen",
  continued: "Going on",
  beyond: "Beyond the original's presets",
};

/** The presets as they stand together in the coordinator's list. */
function groupsOf(presets: readonly PresetInfo[]): [PresetGroup, PresetInfo[]][] {
  const groups = new Map<PresetGroup, PresetInfo[]>();
  for (const preset of presets) groups.set(preset.group, [...(groups.get(preset.group) ?? []), preset]);
  return [...groups];
}

/** How many runs are proposed as a base. */
const MOST_BASES = 50;

interface BaseFieldProps {
  draft: Draft;
  preset: PresetInfo;
  problems: readonly FieldProblem[] | undefined;
  onDraft: (part: Partial<Draft>) => void;
}

/** The run to start from; those that succeeded are proposed, the preset's own base first. */
function BaseField({ draft, preset, problems, onDraft }: BaseFieldProps) {
  const [runs, setRuns] = useState<readonly RunSummary[]>([]);
  useEffect(() => {
    const controller = new AbortController();
    api
      .runs({ state: "succeeded", limit: MOST_BASES }, controller.signal)
      .then((answer) => {
        setRuns(answer.runs.filter((run) => run.kind !== "evaluate"));
      })
      .catch(() => {
        // Without proposals an id can still be typed.
      });
    return () => {
      controller.abort();
    };
  }, []);
  const made = (run: RunSummary) => run.preset === preset.base_preset;
  const proposed = [...runs.filter(made), ...runs.filter((run) => !made(run))];
  return (
    <Field name="base" label="Base" problems={problems}>
      <TextInput
        name="base"
        draft={draft}
        placeholder="Id of a run or checkpoint"
        list="bases"
        onDraft={onDraft}
      />
      <datalist id="bases">
        {proposed.map((run) => (
          <option key={run.id} value={run.id}>
            {run.name}
          </option>
        ))}
      </datalist>
      {preset.base_preset && (
        <p class="hint">
          Made for what <code>{preset.base_preset}</code> trains.
        </p>
      )}
    </Field>
  );
}

function Refusal({ error, others }: { error: ApiError | string; others: readonly FieldProblem[] }) {
  if (typeof error === "string") return <ErrorNotice>{error}</ErrorNotice>;
  const placed = error.fields.length > 0 && others.length === 0;
  if (placed) return null;
  return (
    <ErrorNotice>
      {others.length === 0
        ? error.message
        : others.map((each) => `${each.pointer}: ${each.detail}`).join(" ")}
    </ErrorNotice>
  );
}

interface FieldProps {
  name: string;
  label: string;
  problems: readonly FieldProblem[] | undefined;
  children: preact.ComponentChildren;
}

function Field({ name, label, problems = [], children }: FieldProps) {
  return (
    <div class="field" data-invalid={problems.length > 0}>
      <label for={`field-${name}`}>{label}</label>
      {children}
      {problems.map((problem) => (
        <p class="field-problem" role="alert" key={problem.detail}>
          {problem.detail}
          {problem.allowed && `; allowed: ${problem.allowed}`}
          {problem.nearest && `. Did you mean ${problem.nearest}?`}
        </p>
      ))}
    </div>
  );
}

interface TextInputProps {
  name: keyof Draft;
  draft: Draft;
  placeholder: string;
  numeric?: boolean;
  /** Id of a list of proposals. */
  list?: string;
  onDraft: (part: Partial<Draft>) => void;
}

function TextInput({ name, draft, placeholder, numeric = false, list, onDraft }: TextInputProps) {
  return (
    <input
      id={`field-${name}`}
      type="text"
      inputMode={numeric ? "numeric" : "text"}
      autocomplete="off"
      list={list}
      placeholder={placeholder}
      value={draft[name]}
      onInput={(event) => {
        onDraft({ [name]: event.currentTarget.value });
      }}
    />
  );
}
