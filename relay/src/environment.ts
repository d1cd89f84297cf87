/** Characters that show that no shell has interpreted a value. The first match is reported. */
const FLAWS: readonly (readonly [RegExp, string])[] = [
  [/^\s+$/, 'contains only spaces. Set it, or unset it.'],
  [/\r$/, 'ends with a carriage return. Save its file with LF line ends.'],
  [/^\s|\s$/, 'begins or ends with a space or a line end. Remove it.'],
  [/^["'`“”‘’]|["'`“”‘’]$/, 'has quotes around it, which only a shell removes. Leave them out.'],
];

/** The value of an environment variable is wrong. `message` is its name and then `wrong`. */
export class VariableError extends TypeError {
  /**
   * Creates the error for one variable.
   *
   * @param variable its name
   * @param wrong what is wrong and what to do, as it follows the name
   */
  constructor(
    /** Its name. */
    readonly variable: string,
    /** What is wrong and what to do, as it follows the name. */
    readonly wrong: string,
  ) {
    super(`${variable} ${wrong}`);
  }
}

/**
 * Reads a variable; undefined if it is not set.
 *
 * @throws VariableError, without the value
 */
export function readVariable(env: NodeJS.ProcessEnv, name: string): string | undefined {
  const text = env[name];
  const flaw = FLAWS.find(([pattern]) => text !== undefined && pattern.test(text));
  if (flaw !== undefined) throw new VariableError(name, flaw[1]);
  return text;
}
