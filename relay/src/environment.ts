/** What can be wrong with a value that no shell has read. The first that matches is reported. */
const FLAWS: readonly (readonly [RegExp, string])[] = [
  [/^\s+$/, 'holds nothing but blanks. Set it, or unset it.'],
  [/\r$/, 'ends with a carriage return. Save its file with LF line ends.'],
  [/^\s|\s$/, 'begins or ends with a space or a line end. Remove it.'],
  [/^["'`“”‘’]|["'`“”‘’]$/, 'has quotes around it, which only a shell takes away. Leave them out.'],
];

/**
 * Reads a variable; undefined where it is not set.
 *
 * @throws TypeError with the name of the variable, and never with its value
 */
export function readVariable(env: NodeJS.ProcessEnv, name: string): string | undefined {
  const text = env[name];
  const flaw = FLAWS.find(([pattern]) => text !== undefined && pattern.test(text));
  if (flaw !== undefined) throw new TypeError(`${name} ${flaw[1]}`);
  return text;
}
