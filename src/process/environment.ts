/** Remains of files that no shell interpreted. The first match is reported. */
const FLAWS: readonly (readonly [RegExp, string])[] = [
  [/^$/, 'is empty. Set it, or unset it'],
  [/^\s+$/, 'contains only spaces. Set it, or unset it'],
  [/\r$/, 'ends with a carriage return. Save its file with LF line ends'],
  [/^\s|\s$/, 'begins or ends with a space or a line end. Remove it'],
  [/^["'`“”‘’]|["'`“”‘’]$/, 'has quotes around it, which only a shell removes. Leave them out'],
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters to find
  [/[\x00-\x1f\x7f]/, 'contains a control character. Type it again'],
];
/** Only a shell expands these. A real folder with such a name can be written as ./~x. */
const PATH_FLAWS: readonly (readonly [RegExp, string])[] = [
  [/^~/, 'begins with ~, which only a shell expands. Write the whole path'],
  [/^\$|\$\{|^%\w+%/, 'contains a variable, which only a shell expands. Write the whole path'],
  [/^[a-z][a-z\d+.-]+:\/\//i, 'is a URL. Write the path'],
  [/\s#/, 'contains a comment. Put that on its own line'],
];

/**
 * Explains why a value is probably wrong, and the fix: `begins with ~, which … Write …`. It reveals nothing of the value.
 *
 * @returns null if nothing is wrong
 */
export function flawOf(value: string): string | null {
  return FLAWS.find(([flaw]) => flaw.test(value))?.[1] ?? null;
}

/** @throws TypeError with the variable's name and the reason */
export function assertPath(name: string, value: string): void {
  refuse(name, flawOf(value) ?? PATH_FLAWS.find(([flaw]) => flaw.test(value))?.[1] ?? null);
}

/**
 * The value of a variable; undefined if it is not set.
 *
 * @param empty whether an empty variable counts as not set, which is only right if that weakens nothing
 * @throws TypeError with the name of the variable, and never its value
 */
export function readVariable(
  env: Readonly<Record<string, unknown>>,
  name: string,
  empty: 'unset' | 'wrong',
): string | undefined {
  const value = env[name];
  if (value === undefined || (value === '' && empty === 'unset')) return undefined;
  if (typeof value !== 'string') throw new TypeError(`${name} is not text.`);
  refuse(name, flawOf(value));
  return value;
}

/** Like {@link readVariable}, for the path of a file or folder. */
export function readPath(
  env: Readonly<Record<string, unknown>>,
  name: string,
  empty: 'unset' | 'wrong',
): string | undefined {
  const value = readVariable(env, name, empty);
  if (value !== undefined) assertPath(name, value);
  return value;
}

/** @param flaw the result of {@link flawOf} */
export function refuse(name: string, flaw: string | null): void {
  if (flaw !== null) throw new TypeError(`${name} ${flaw}.`);
}
