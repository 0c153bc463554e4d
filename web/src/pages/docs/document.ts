/** The coordinator's OpenAPI document, as far as its page needs it. */

export interface Parameter {
  readonly name: string;
  readonly in: "path" | "query" | "header" | "cookie";
  readonly description?: string;
  readonly required?: boolean;
  readonly schema?: unknown;
}

export interface Answer {
  readonly description?: string;
  readonly content?: Readonly<Record<string, { readonly schema?: unknown }>>;
}

export interface Operation {
  readonly method: string;
  readonly path: string;
  readonly id: string;
  readonly summary: string;
  readonly description: string;
  readonly parameters: readonly Parameter[];
  /** Media types of the body; none where there is no body. */
  readonly bodies: readonly string[];
  readonly answers: readonly (readonly [string, Answer])[];
  readonly bodySchema: unknown;
}

export interface Group {
  readonly name: string;
  readonly description: string;
  readonly operations: readonly Operation[];
}

/** The document as it comes over the wire. */
export interface OpenApi {
  readonly paths: Readonly<Record<string, Readonly<Record<string, RawOperation>>>>;
  readonly tags?: readonly { readonly name: string; readonly description?: string }[];
  readonly components?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}

interface RawOperation {
  readonly tags?: readonly string[];
  readonly operationId?: string;
  readonly summary?: string;
  readonly description?: string;
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: { readonly content?: Readonly<Record<string, { readonly schema?: unknown }>> };
  readonly responses?: Readonly<Record<string, Answer & { readonly $ref?: string }>>;
}

const METHODS = ["get", "post", "put", "patch", "delete"];
/** How deep a schema is written out; what is deeper is there by its name. */
const DEEPEST = 6;

/** The operations by their tags, in the document's order. */
export function groupsOf(document: OpenApi): readonly Group[] {
  const groups = new Map<string, { description: string; operations: Operation[] }>(
    (document.tags ?? []).map((tag) => [tag.name, { description: tag.description ?? "", operations: [] }]),
  );
  for (const [path, item] of Object.entries(document.paths)) {
    for (const method of METHODS) {
      const raw = item[method];
      if (raw === undefined) continue;
      const name = raw.tags?.[0] ?? "other";
      const group = groups.get(name) ?? { description: "", operations: [] };
      groups.set(name, group);
      group.operations.push(operationOf(document, path, method, raw));
    }
  }
  return [...groups]
    .filter(([, group]) => group.operations.length > 0)
    .map(([name, group]) => ({ name, ...group }));
}

function operationOf(document: OpenApi, path: string, method: string, raw: RawOperation): Operation {
  const content = raw.requestBody?.content ?? {};
  return {
    method,
    path,
    id: raw.operationId ?? `${method}${path}`,
    summary: raw.summary ?? "",
    description: raw.description ?? "",
    parameters: raw.parameters ?? [],
    bodies: Object.keys(content),
    bodySchema: Object.values(content)[0]?.schema,
    answers: Object.entries(raw.responses ?? {}).map(([status, answer]) => [
      status,
      answer.$ref === undefined ? answer : ((lookUp(document, answer.$ref) ?? {}) as Answer),
    ]),
  };
}

function lookUp(document: OpenApi, reference: string): unknown {
  const [, section, kind, name] = reference.split("/");
  return section === "components" ? document.components?.[kind ?? ""]?.[name ?? ""] : undefined;
}

interface Schema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly properties?: Readonly<Record<string, unknown>>;
  readonly items?: unknown;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly oneOf?: readonly unknown[];
  readonly anyOf?: readonly unknown[];
  readonly allOf?: readonly unknown[];
  readonly format?: string;
}

/** A value of the form that a schema has, to be read or to begin with. */
export function exampleOf(document: OpenApi, schema: unknown, depth = 0): unknown {
  if (typeof schema !== "object" || schema === null) return null;
  const { $ref, type, properties, items, oneOf, anyOf, allOf, format, ...rest } = schema as Schema;
  if ($ref !== undefined) {
    return depth >= DEEPEST
      ? ($ref.split("/").at(-1) ?? "")
      : exampleOf(document, lookUp(document, $ref), depth + 1);
  }
  if (rest.const !== undefined) return rest.const;
  if (rest.enum !== undefined) return rest.enum[0];
  if (allOf !== undefined) {
    return Object.assign({}, ...allOf.map((part) => exampleOf(document, part, depth))) as unknown;
  }
  const choice = (oneOf ?? anyOf)?.find((part) => (part as Schema).type !== "null");
  if (choice !== undefined) return exampleOf(document, choice, depth);
  const kind = typeof type === "string" ? type : type?.find((each) => each !== "null");
  if (properties !== undefined) {
    return Object.fromEntries(
      Object.entries(properties).map(([name, part]) => [name, exampleOf(document, part, depth + 1)]),
    );
  }
  switch (kind) {
    case "array":
      return [exampleOf(document, items, depth + 1)];
    case "object":
      return {};
    case "string":
      return format === "date-time" ? "2026-01-31T12:00:00Z" : (format ?? "text");
    case "boolean":
      return false;
    case "integer":
    case "number":
      return 0;
    case undefined:
    default:
      return null;
  }
}

/** The address that a request goes to. Values of a repeated parameter stand on lines of their own. */
export function addressOf(operation: Operation, values: Readonly<Record<string, string>>): string {
  let path = operation.path;
  const query = new URLSearchParams();
  for (const parameter of operation.parameters) {
    const value = values[parameter.name] ?? "";
    if (parameter.in === "path") path = path.replace(`{${parameter.name}}`, encodeURIComponent(value));
    if (parameter.in !== "query") continue;
    for (const line of value.split("\n")) if (line !== "") query.append(parameter.name, line);
  }
  const words = query.toString();
  return words === "" ? path : `${path}?${words}`;
}
