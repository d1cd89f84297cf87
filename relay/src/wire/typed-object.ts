/** For each type of message, its members in addition to `type`. */
export type MembersByType<T extends string> = Readonly<Record<T, readonly string[]>>;

/** An object with one of these types, whose other members are not checked yet. */
export type TypedObject<T extends string> = { readonly type: T } & Readonly<Record<string, unknown>>;

/** Reads a JSON object whose `type` is one of these. @returns null for any other text */
export function readTypedObject<T extends string>(
  text: string,
  members: MembersByType<T>,
): TypedObject<T> | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return null;
  const { type } = value as { type?: unknown };
  return typeof type === 'string' && Object.hasOwn(members, type) ? (value as TypedObject<T>) : null;
}

/** Whether an object has `type`, these members, and no others. */
export function hasExactly(object: TypedObject<string>, members: readonly string[]): boolean {
  const isComplete = members.every((name) => Object.hasOwn(object, name));
  return isComplete && Object.keys(object).length === members.length + 1;
}
