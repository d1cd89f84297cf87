/** Why a value is probably not the intended one. It reveals nothing of the value. */
export type Flaw = readonly [
  pattern: RegExp,
  /** What is wrong, as it follows the name: `begins with ~, which only a shell expands.` */
  wrong: string,
  /** The fix: one sentence. */
  fix: string,
];

/** The value of an environment variable is wrong. `message` is `detail` and then `fix`; neither shows the value. */
export class VariableError extends TypeError {
  /** What is wrong: one sentence. */
  readonly detail: string;

  /**
   * Creates the error for one variable.
   *
   * @param variable its name in the environment
   * @param wrong what is wrong, as it follows the name: `is not text.`
   * @param fix the fix: one sentence; empty if `wrong` contains it
   */
  constructor(
    variable: string,
    wrong: string,
    /** The fix: one sentence; empty if `detail` contains it. */
    readonly fix = '',
  ) {
    const detail = `${variable} ${wrong}`;
    super(`${detail} ${fix}`.trimEnd());
    this.detail = detail;
  }
}

/** Characters that come from files which no shell has interpreted. The first match is reported. */
const FLAWS: readonly Flaw[] = [
  [/^$/, 'is empty.', 'Set it, or unset it.'],
  [/^\s+$/, 'contains only spaces.', 'Set it, or unset it.'],
  [/\r$/, 'ends with a carriage return.', 'Save its file with LF line ends.'],
  [/^\s|\s$/, 'begins or ends with a space or a line end.', 'Remove it.'],
  [/^["'`“”‘’]|["'`“”‘’]$/, 'has quotes around it, which only a shell removes.', 'Leave them out.'],
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters to find
  [/[\x00-\x1f\x7f]/, 'contains a control character.', 'Type it again.'],
];
/** Only a shell expands these. A real folder with such a name can be written as ./~x. */
const PATH_FLAWS: readonly Flaw[] = [
  [/^~/, 'begins with ~, which only a shell expands.', 'Write the whole path.'],
  [/^\$|\$\{|^%\w+%/, 'contains a variable, which only a shell expands.', 'Write the whole path.'],
  [/^[a-z][a-z\d+.-]+:\/\//i, 'is a URL.', 'Write the path.'],
  [/\s#/, 'contains a comment.', 'Put that on its own line.'],
];

/** Explains why a value is probably wrong; undefined if nothing is. */
export function flawOf(value: string, flaws = FLAWS): Flaw | undefined {
  return flaws.find(([pattern]) => pattern.test(value));
}

function pathFlawOf(value: string): Flaw | undefined {
  return flawOf(value) ?? flawOf(value, PATH_FLAWS);
}

/** @throws TypeError with the option's name and the reason */
export function assertPath(name: string, value: string): void {
  const flaw = pathFlawOf(value);
  if (flaw !== undefined) throw new TypeError(`${name} ${flaw[1]} ${flaw[2]}`);
}

/**
 * The value of a variable; undefined if it is not set.
 *
 * @param empty whether an empty variable is treated as not set, which is only right if that weakens nothing
 * @throws VariableError
 */
export function readVariable(
  env: Readonly<Record<string, unknown>>,
  name: string,
  empty: 'unset' | 'wrong',
): string | undefined {
  const value = env[name];
  if (value === undefined || (value === '' && empty === 'unset')) return undefined;
  if (typeof value !== 'string') throw new VariableError(name, 'is not text.');
  assertVariable(name, flawOf(value));
  return value;
}

/** Like {@link readVariable}, for the path of a file or folder. */
export function readPath(
  env: Readonly<Record<string, unknown>>,
  name: string,
  empty: 'unset' | 'wrong',
): string | undefined {
  const value = readVariable(env, name, empty);
  if (value !== undefined) assertVariable(name, pathFlawOf(value));
  return value;
}

/** @throws VariableError if there is a flaw */
export function assertVariable(name: string, flaw: Flaw | undefined): void {
  if (flaw !== undefined) throw new VariableError(name, flaw[1], flaw[2]);
}
