import { parseArgs } from 'node:util';
import type { ArgDef, ArgsDef } from 'citty';
import { UsageError } from '../errors/errors';
import { here } from '../words/here';
import { nearest } from '../words/nearest';
import { inviteFor } from '../words/pairing-code';
import { printable } from '../words/printable';
import { shellWord } from '../words/shell';
import { isRepeated } from './command';

/**
 * Rejects what citty accepts: unknown flags, repeated flags, malformed values, extra or missing arguments.
 *
 * @param path the command as typed
 * @throws UsageError
 */
export function checkArguments(rawArgs: readonly string[], args: ArgsDef, path: string): void {
  const flags = flagsOf(args);
  const tokens = tokensOf(rawArgs, flags);

  const seen = new Set<string>();
  const words: string[] = [];
  let firstWord = -1;
  for (const token of tokens) {
    if (token.kind === 'positional') {
      if (words.length === 0) firstWord = token.index;
      words.push(token.value);
    }
    if (token.kind !== 'option') continue;
    const flag = flags.get(token.name);
    if (flag === undefined) throw unknownFlag(rawArgs[token.index] ?? token.rawName, args);
    checkValue(token, flag);
    if (flag.type !== 'boolean' && seen.has(token.name) && !isRepeated(flag)) {
      throw new UsageError(`--${token.name} is given twice.`, {
        hint: 'Give it once; separate several hosts with commas.',
      });
    }
    seen.add(token.name);
  }

  for (const [name, { required, type }] of flags) {
    if (!required || seen.has(name)) continue;
    const meant = type === 'string' && !takesWords(args) && words.length === 1 && !rawArgs.includes('--');
    const command = [...rawArgs.slice(0, firstWord), `--${name}`, ...rawArgs.slice(firstWord)];
    throw new UsageError(`--${name} is missing.`, {
      hint: meant ? `Did you mean: ${here(`${path} ${command.map(shellWord).join(' ')}`)}` : undefined,
    });
  }
  checkWords(words, args, path);
}

/** What citty gives to a command that runs. */
export interface Given {
  readonly rawArgs: readonly string[];
  readonly cmd: { readonly args?: unknown };
}

/** The values of a flag that may be given several times, which citty would reduce to the last one. */
export function valuesOf({ rawArgs, cmd }: Given, name: string): readonly string[] {
  const tokens = tokensOf(rawArgs, flagsOf(cmd.args as ArgsDef));
  return tokens.flatMap((token) =>
    token.kind === 'option' && token.name === name && token.value !== undefined ? [token.value] : [],
  );
}

/**
 * Splits arguments with the flags of a command: the text after a letter is a value for some letters, and more letters for others.
 */
function tokensOf(rawArgs: readonly string[], flags: ReadonlyMap<string, Flag>) {
  const options = [...flags].map(([name, { type, alias }]) => [
    name,
    {
      type: type === 'boolean' ? ('boolean' as const) : ('string' as const),
      ...(typeof alias === 'string' ? { short: alias } : {}),
    },
  ]);
  const { tokens } = parseArgs({
    args: [...rawArgs],
    options: Object.fromEntries(options),
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  return tokens;
}

/** Whether a flag of every command is given: by its name, or by its letter, which a command may use for another flag. */
export function asksFor(flags: readonly string[], name: 'help' | 'version', args: ArgsDef = {}): boolean {
  const letter = name === 'help' ? 'h' : 'v';
  const others = [...flagsOf(args)].filter(([other]) => other !== name);
  if (others.some(([, { alias }]) => alias === letter)) return flags.includes(`--${name}`);
  // The text after such a letter is its value: `-Xhead`, `-iXhead`.
  const takesValue = (short: string) =>
    others.some(([, { type, alias }]) => type !== 'boolean' && alias === short);
  const isAmong = ([...letters]: string) => {
    const end = letters.findIndex(takesValue);
    return letters.slice(0, end === -1 ? undefined : end).includes(letter);
  };
  return flags.some((flag) => flag === `--${name}` || (/^-[A-Za-z]+$/.test(flag) && isAmong(flag.slice(1))));
}

/** The error for an unknown flag, with the one that was probably meant. */
function unknownFlag(text: string, args: ArgsDef): UsageError {
  const given = text.split('=', 1)[0] as string;
  const known = [...flagsOf(args).keys()];
  const meant = nearest(given.replace(/^-+/, ''), known);
  return new UsageError(
    `There is no flag ${shorten(given)} here.${meant === undefined ? '' : ` Did you mean --${meant}?`}`,
  );
}

interface Flag {
  readonly type?: ArgDef['type'];
  readonly alias?: string | string[] | undefined;
  readonly required?: boolean | undefined;
  readonly valueHint?: string | undefined;
  readonly options?: readonly string[] | undefined;
}

function flagsOf(args: ArgsDef): Map<string, Flag> {
  const flags = new Map<string, Flag>();
  for (const [name, arg] of Object.entries(args)) {
    // citty has the negated name of a flag that is true by default.
    if (arg.type !== 'positional') flags.set(arg.default === true ? `no-${name}` : name, arg);
  }
  return flags;
}

function checkValue(
  token: { name: string; value: string | undefined; inlineValue: boolean | undefined },
  flag: Flag,
): void {
  const { name, value } = token;
  if (flag.type === 'boolean') {
    if (value !== undefined) throw new UsageError(`--${name} takes no value.`);
    return;
  }
  if (value === undefined || value.trim() === '' || (!token.inlineValue && value.startsWith('-'))) {
    throw new UsageError(`--${name} needs a value.`);
  }
  if (flag.options !== undefined && !flag.options.includes(value)) {
    throw new UsageError(`--${name} must be ${flag.options.join(' or ')}, not ${shorten(value)}.`);
  }
}

function checkWords(words: readonly string[], args: ArgsDef, path: string): void {
  const places = Object.entries(args).filter(([, arg]) => arg.type === 'positional');
  const missing = places.slice(words.length).find(([, arg]) => arg.required);
  if (missing !== undefined) throw new UsageError(`<${missing[1].valueHint ?? missing[0]}> is missing.`);
  const extra = words[places.length];
  if (extra === undefined || places.some(([, arg]) => isRepeated(arg))) return;
  throw new UsageError(`There is one argument too many: ${shorten(JSON.stringify(extra))}.`, {
    hint: hintFor(words, path) ?? (places.length === 0 ? undefined : 'Put a value with spaces in quotes.'),
  });
}

/**
 * A hint if the words are a pairing code, split into several arguments or typed on the machine that shows it; or if a body follows
 * --json, as it may in curl.
 */
function hintFor(words: readonly string[], path: string): string | undefined {
  if (path === 'amesh curl' && words.some((word) => /^[{[]/.test(word)))
    return 'Give a body by -d: --json only says how amesh prints.';
  const invite = inviteFor(words);
  if (invite === null) return undefined;
  const where =
    path === 'amesh invite' ? 'Write the code as one word' : 'Type the code on the machine that calls';
  return `${where}: ${here(invite)}`;
}

function takesWords(args: ArgsDef): boolean {
  return Object.values(args).some(({ type }) => type === 'positional');
}

function shorten(text: string): string {
  const clean = printable(text);
  return clean.length > 60 ? `${clean.slice(0, 59)}…` : clean;
}
