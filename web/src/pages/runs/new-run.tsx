/** The dialog that submits an experiment from a preset. */
import { useLocation } from "preact-iso";
import { useEffect, useState } from "preact/hooks";
import { api, ApiError, messageOf } from "../../api/client";
import type { FieldProblem, PresetInfo } from "../../api/types";
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
              change({ preset: event.currentTarget.value });
            }}
          >
            {presets?.map((each) => (
              <option key={each.id} value={each.id}>
                {each.id}
              </option>
            ))}
          </select>
          {preset && <p class="hint">{preset.description}.</p>}
        </Field>
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
              placeholder={preset ? formatCount(preset.spec.training.batches) : ""}
              numeric
              onDraft={change}
            />
          </Field>
          <Field name="hidden" label="Hidden units" problems={problems?.hidden}>
            <TextInput
              name="hidden"
              draft={draft}
              placeholder={preset ? String(preset.spec.network.hidden) : ""}
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
  onDraft: (part: Partial<Draft>) => void;
}

function TextInput({ name, draft, placeholder, numeric = false, onDraft }: TextInputProps) {
  return (
    <input
      id={`field-${name}`}
      type="text"
      inputMode={numeric ? "numeric" : "text"}
      autocomplete="off"
      placeholder={placeholder}
      value={draft[name]}
      onInput={(event) => {
        onDraft({ [name]: event.currentTarget.value });
      }}
    />
  );
}
