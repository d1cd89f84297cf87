/** In files that no shell has read, these stay in the value. In order: the first that fits is told. */
const FLAWS: readonly (readonly [RegExp, string])[] = [
  [/^$/, 'is empty. Set it, or unset it'],
  [/^\s+$/, 'holds nothing but blanks. Set it, or unset it'],
  [/\r$/, 'ends with a carriage return. Save the file that it stands in with LF line ends'],
  [/^\s|\s$/, 'begins or ends with a blank or a line end. Remove it'],
  [/^["'`“”‘’]|["'`“”‘’]$/, 'has quotes around it, which only a shell takes away. Leave them out'],
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  [/[\x00-\x1f\x7f]/, 'holds a control character. Type it anew'],
];
/** Only a shell makes a folder of these. A real folder with such a name can be written as ./~x. */
const PATH_FLAWS: readonly (readonly [RegExp, string])[] = [
  [/^~/, 'begins with ~, which only a shell replaces. Write the whole path'],
  [/^\$|\$\{|^%\w+%/, 'names a variable, which only a shell replaces. Write the whole path'],
  [/^[a-z][a-z\d+.-]+:\/\//i, 'is a URL. Write the path'],
  [/\s#/, 'holds a comment. Put that on a line of its own'],
];

/**
 * What keeps a value from being what was meant, and what to do: `begins with ~, which … Write …`. It shows nothing of the value.
 *
 * @returns null where nothing does
 */
export function flawOf(value: string): string | null {
  return FLAWS.find(([flaw]) => flaw.test(value))?.[1] ?? null;
}

/** @throws TypeError with the name and the reason */
export function assertPath(name: string, value: string): void {
  refuse(name, flawOf(value) ?? PATH_FLAWS.find(([flaw]) => flaw.test(value))?.[1] ?? null);
}

/**
 * The value of a variable; undefined where it is not set.
 *
 * @param empty whether an empty one counts as not set, which only suits where nothing becomes weaker by it
 * @throws TypeError that names the variable, and never its value
 */
export function readVariable(
  env: Readonly<Record<string, unknown>>,
  name: string,
  empty: 'unset' | 'wrong',
): string | undefined {
  const value = env[name];
  if (value === undefined || (value === '' && empty === 'unset')) return undefined;
  if (typeof value !== 'string') throw new TypeError(`${name} is no text.`);
  refuse(name, flawOf(value));
  return value;
}

/** As {@link readVariable}, for the path of a file or a folder. */
export function readPath(
  env: Readonly<Record<string, unknown>>,
  name: string,
  empty: 'unset' | 'wrong',
): string | undefined {
  const value = readVariable(env, name, empty);
  if (value !== undefined) assertPath(name, value);
  return value;
}

/** @param flaw as {@link flawOf} gives it */
export function refuse(name: string, flaw: string | null): void {
  if (flaw !== null) throw new TypeError(`${name} ${flaw}.`);
}
