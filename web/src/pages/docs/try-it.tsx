/** The form that sends a request of one operation to this coordinator and shows what it answers. */
import { useState } from "preact/hooks";
import { addressOf, exampleOf, type OpenApi, type Operation, type Parameter } from "./document";

/** Longest part of an answer that is shown. */
const LONGEST = 20_000;

interface Shown {
  readonly status: string;
  readonly headers: string;
  readonly body: string;
}

export function TryIt({ document, operation }: { document: OpenApi; operation: Operation }) {
  const [values, setValues] = useState<Readonly<Record<string, string>>>({});
  const [type, setType] = useState(operation.bodies[0] ?? "");
  const [body, setBody] = useState(() =>
    operation.bodies[0] === "application/json"
      ? JSON.stringify(exampleOf(document, operation.bodySchema) ?? {}, null, 2)
      : "",
  );
  const [shown, setShown] = useState<Shown | null>(null);
  const [waiting, setWaiting] = useState(false);
  const isStream = operation.answers.some(([, answer]) => "text/event-stream" in (answer.content ?? {}));

  const send = async () => {
    setWaiting(true);
    setShown(await ask(operation, values, type, body));
    setWaiting(false);
  };

  return (
    <form
      class="try"
      onSubmit={(event) => {
        event.preventDefault();
        void send();
      }}
    >
      {operation.parameters.map((parameter) => (
        <ParameterField
          key={parameter.name}
          id={`${operation.id}-${parameter.name}`}
          parameter={parameter}
          value={values[parameter.name] ?? ""}
          onValue={(value) => {
            setValues({ ...values, [parameter.name]: value });
          }}
        />
      ))}
      {operation.bodies.length > 0 && (
        <div class="field">
          <label for={`${operation.id}-body`}>Body</label>
          {operation.bodies.length > 1 && (
            <select
              aria-label="Type of the body"
              value={type}
              onChange={(event) => {
                setType(event.currentTarget.value);
              }}
            >
              {operation.bodies.map((each) => (
                <option key={each}>{each}</option>
              ))}
            </select>
          )}
          <textarea
            id={`${operation.id}-body`}
            rows={Math.min(16, body.split("\n").length + 1)}
            spellcheck={false}
            value={body}
            onInput={(event) => {
              setBody(event.currentTarget.value);
            }}
          />
        </div>
      )}
      {isStream ? (
        <p>
          A stream: open <a href={addressOf(operation, values)}>{addressOf(operation, values)}</a>.
        </p>
      ) : (
        <button type="submit" class="button" disabled={waiting}>
          {waiting ? "Sending…" : "Send"}
        </button>
      )}
      {shown !== null && (
        <output class="shown">
          <strong>{shown.status}</strong>
          <pre tabIndex={0}>{shown.headers}</pre>
          <pre tabIndex={0}>{shown.body}</pre>
        </output>
      )}
    </form>
  );
}

interface ParameterFieldProps {
  id: string;
  parameter: Parameter;
  value: string;
  onValue: (value: string) => void;
}

function ParameterField({ id, parameter, value, onValue }: ParameterFieldProps) {
  const isList = (parameter.schema as { type?: unknown } | undefined)?.type === "array";
  const common = {
    id,
    value,
    required: parameter.required === true,
    spellcheck: false,
    "aria-describedby": `${id}-about`,
  };
  return (
    <div class="field">
      <label for={id}>
        <code>{parameter.name}</code> <span class="quiet">{parameter.in}</span>
      </label>
      {isList ? (
        <textarea
          {...common}
          rows={2}
          placeholder="one a line"
          onInput={(event) => {
            onValue(event.currentTarget.value);
          }}
        />
      ) : (
        <input
          {...common}
          type="text"
          onInput={(event) => {
            onValue(event.currentTarget.value);
          }}
        />
      )}
      <p class="quiet" id={`${id}-about`}>
        {parameter.description}
      </p>
    </div>
  );
}

async function ask(
  operation: Operation,
  values: Readonly<Record<string, string>>,
  type: string,
  body: string,
): Promise<Shown> {
  const headers = new Headers();
  for (const parameter of operation.parameters) {
    const value = values[parameter.name] ?? "";
    if (parameter.in === "header" && value !== "") headers.set(parameter.name, value);
  }
  if (operation.bodies.length > 0) headers.set("content-type", type);
  try {
    const response = await fetch(addressOf(operation, values), {
      method: operation.method.toUpperCase(),
      headers,
      ...(operation.bodies.length > 0 ? { body } : {}),
    });
    const text = await response.text();
    return {
      status: `${response.status} ${response.statusText}`,
      headers: [...response.headers].map(([name, value]) => `${name}: ${value}`).join("\n"),
      body: readable(text),
    };
  } catch {
    return { status: "No answer", headers: "", body: "The coordinator cannot be reached." };
  }
}

/** JSON with its lines broken; whatever else as it is; not without end. */
function readable(text: string): string {
  let shown = text;
  try {
    shown = JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    // Not JSON.
  }
  return shown.length > LONGEST ? `${shown.slice(0, LONGEST)}\n…` : shown;
}
