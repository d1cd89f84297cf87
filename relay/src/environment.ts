/** Faults of a value that no shell has interpreted. The first match is reported. */
const FLAWS: readonly (readonly [RegExp, string])[] = [
  [/^\s+$/, 'contains only spaces. Set it, or unset it.'],
  [/\r$/, 'ends with a carriage return. Save its file with LF line ends.'],
  [/^\s|\s$/, 'begins or ends with a space or a line end. Remove it.'],
  [/^["'`“”‘’]|["'`“”‘’]$/, 'has quotes around it, which only a shell removes. Leave them out.'],
];

/**
 * Reads a variable; undefined if it is not set.
 *
 * @throws TypeError with the name of the variable, and never its value
 */
export function readVariable(env: NodeJS.ProcessEnv, name: string): string | undefined {
  const text = env[name];
  const flaw = FLAWS.find(([pattern]) => text !== undefined && pattern.test(text));
  if (flaw !== undefined) throw new TypeError(`${name} ${flaw[1]}`);
  return text;
}
