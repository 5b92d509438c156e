// Small runtime checks: every message from Python passes through one before any view sees it.

/** Turns an unknown value into a T, or throws a sentence that says where it is wrong. */
export type Check<T> = (value: unknown, path: string) => T;
export type Checked<C> = C extends Check<infer T> ? T : never;

export class MalformedMessage extends Error {
  override name = "MalformedMessage";
}

/** What went wrong, as a person reads it. */
export const wordsOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

function fail(path: string, expected: string, value: unknown): never {
  const came = value === null ? "null" : Array.isArray(value) ? "a list" : typeof value;
  throw new MalformedMessage(`Python sent a message this widget cannot read: ${path} should be ${expected}, and is ${came}.`);
}

export const text: Check<string> = (value, path) => (typeof value === "string" ? value : fail(path, "a text", value));

export const flag: Check<boolean> = (value, path) => (typeof value === "boolean" ? value : fail(path, "true or false", value));

export const real: Check<number> = (value, path) =>
  typeof value === "number" && Number.isFinite(value) ? value : fail(path, "a finite number", value);

export const count: Check<number> = (value, path) =>
  typeof value === "number" && Number.isInteger(value) && value >= 0 ? value : fail(path, "a whole number", value);

export const nullable =
  <T>(check: Check<T>): Check<T | null> =>
  (value, path) =>
    value === null || value === undefined ? null : check(value, path);

export const oneOf =
  <const T extends readonly string[]>(...allowed: T): Check<T[number]> =>
  (value, path) =>
    typeof value === "string" && allowed.includes(value) ? value : fail(path, `one of ${allowed.join(", ")}`, value);

export const list =
  <T>(check: Check<T>): Check<T[]> =>
  (value, path) =>
    Array.isArray(value) ? value.map((item, i) => check(item, `${path}[${i}]`)) : fail(path, "a list", value);

export const pair =
  <A, B>(first: Check<A>, second: Check<B>): Check<[A, B]> =>
  (value, path) =>
    Array.isArray(value) && value.length === 2
      ? [first(value[0], `${path}[0]`), second(value[1], `${path}[1]`)]
      : fail(path, "a pair", value);

/** Keys that the shape does not name are dropped, so a newer Python half may send more. */
export const record =
  <S extends Record<string, Check<unknown>>>(shape: S): Check<{ [K in keyof S]: Checked<S[K]> }> =>
  (value, path) => {
    if (!isRecord(value)) return fail(path, "an object", value);
    const out: Partial<{ [K in keyof S]: Checked<S[K]> }> = {};
    for (const key in shape) out[key] = shape[key]!(value[key], `${path}.${key}`) as Checked<S[typeof key]>;
    return out as { [K in keyof S]: Checked<S[K]> };
  };

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
