import { parseArgs } from 'node:util';
import type { ArgDef, ArgsDef } from 'citty';
import { UsageError } from '../errors/errors';
import { here } from '../words/here';
import { nearest } from '../words/nearest';
import { inviteFor } from '../words/pairing-code';
import { printable } from '../words/printable';
import { shellWord } from '../words/shell';

/**
 * What citty lets pass: unknown flags, flags given twice, values of a wrong form, arguments too many or missing.
 *
 * @param path the command, as it is typed
 * @throws UsageError
 */
export function checkArguments(rawArgs: readonly string[], args: ArgsDef, path: string): void {
  const flags = flagsOf(args);
  const { tokens } = parseArgs({
    args: [...rawArgs],
    options: Object.fromEntries(
      [...flags].map(([name, { type, alias }]) => [
        name,
        {
          type: type === 'boolean' ? 'boolean' : 'string',
          ...(typeof alias === 'string' ? { short: alias } : {}),
        },
      ]),
    ),
    strict: false,
    allowPositionals: true,
    tokens: true,
  });

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
    if (flag.type !== 'boolean' && seen.has(token.name)) {
      throw new UsageError(`--${token.name} is given twice.`, {
        hint: 'Give it once; several hosts are separated by commas.',
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

/** With the flag that was probably meant. */
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
  readonly options?: readonly string[] | undefined;
}

function flagsOf(args: ArgsDef): Map<string, Flag> {
  const flags = new Map<string, Flag>();
  for (const [name, arg] of Object.entries(args)) {
    // citty knows a flag that is on by default by its negation.
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
    throw new UsageError(`--${name} is ${flag.options.join(' or ')}, and not ${shorten(value)}.`);
  }
}

function checkWords(words: readonly string[], args: ArgsDef, path: string): void {
  const places = Object.entries(args).filter(([, arg]) => arg.type === 'positional');
  const missing = places.slice(words.length).find(([, arg]) => arg.required);
  if (missing !== undefined) throw new UsageError(`<${missing[1].valueHint ?? missing[0]}> is missing.`);
  const extra = words[places.length];
  if (extra === undefined) return;
  throw new UsageError(`${shorten(JSON.stringify(extra))} is one argument too many.`, {
    hint:
      hintFor(words, path) ??
      (places.length === 0 ? undefined : 'Something with spaces in it goes in quotes.'),
  });
}

/** Where the words are a pairing code: in more than two parts, or given to the machine that shows it. */
function hintFor(words: readonly string[], path: string): string | undefined {
  const invite = inviteFor(words);
  if (invite === null) return undefined;
  const where =
    path === 'amesh invite' ? 'Write the code as one word' : 'A code goes to the machine that calls';
  return `${where}: ${here(invite)}`;
}

function takesWords(args: ArgsDef): boolean {
  return Object.values(args).some(({ type }) => type === 'positional');
}

function shorten(text: string): string {
  const clean = printable(text);
  return clean.length > 60 ? `${clean.slice(0, 59)}…` : clean;
}
