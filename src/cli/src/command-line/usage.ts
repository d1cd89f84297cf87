import type { ArgDef, ArgsDef, CommandMeta } from 'citty';
import { table } from '../words/table';
import { wrap } from '../words/wrap';
import { type Command, SHARED_ARGS } from './command';

/** One line: `amesh revoke <device> [--force]`. It leaves out the shared flags. */
export function usageLine(path: string, command: Command): string {
  if (command.run === undefined) return `${path} <command>`;
  const others = command.subCommands === undefined ? [] : ['[command]'];
  return [path, ...others, ...Object.entries(ownArgs(command)).map(usageOf)].join(' ');
}

/** A longer usage line would hide the sentence above it. */
const LONGEST_HINT = 110;

/** The usage line for a message: for a command with many flags, only the required arguments, and where to find the rest. */
export function usageHint(path: string, command: Command): string {
  const line = usageLine(path, command);
  if (line.length <= LONGEST_HINT) return line;
  const needed = Object.entries(ownArgs(command)).filter(
    ([, { required, type }]) => required || type === 'positional',
  );
  return [path, ...needed.map(usageOf), `[flags]   See: ${path} --help`].join(' ');
}

function usageOf([name, arg]: [string, ArgDef]): string {
  const text = arg.type === 'positional' ? (arg.valueHint ?? name) : flagOf(name, arg);
  if (!arg.required) return `[${text}]`;
  return arg.type === 'positional' ? `<${text}>` : text;
}

/**
 * The lines of `--help`.
 *
 * @param width the width of the terminal, in characters
 */
export async function helpText(
  path: string,
  command: Command,
  width: number = Number.POSITIVE_INFINITY,
): Promise<string[]> {
  const lines = [`${metaOf(command).description}.`, '', `Usage: ${usageLine(path, command)}`];
  const subCommands = Object.entries(command.subCommands ?? {}) as [string, () => Promise<Command>][];
  if (subCommands.length > 0) {
    const rows = subCommands.map(async ([name, load]) => [
      `  ${name}`,
      `${command.summaries?.[name] ?? metaOf(await load()).description}.`,
    ]);
    lines.push('', 'Commands:', ...table(await Promise.all(rows)));
  }
  lines.push(...section('Arguments:', ownArgs(command), (arg) => arg.type === 'positional'));
  lines.push(...section('Flags:', ownArgs(command), (arg) => arg.type !== 'positional'));
  // A command may describe a shared flag more precisely.
  const shared = { ...SHARED_ARGS, ...pick(command.args as ArgsDef | undefined, SHARED_ARGS) };
  lines.push(...section('Flags of every command:', shared, () => true));
  return lines.flatMap((line) => wrap(line, width));
}

function section(title: string, args: ArgsDef, wanted: (arg: ArgDef) => boolean): string[] {
  const rows = Object.entries(args)
    .filter(([, arg]) => wanted(arg))
    .map(([name, arg]) => [
      `  ${arg.type === 'positional' ? (arg.valueHint ?? name) : flagOf(name, arg)}`,
      `${textOf(arg)}.`,
    ]);
  return rows.length === 0 ? [] : ['', title, ...table(rows)];
}

function textOf(arg: ArgDef): string | undefined {
  return 'negativeDescription' in arg ? arg.negativeDescription : arg.description;
}

function flagOf(name: string, arg: ArgDef): string {
  if (arg.type === 'enum') return `--${name} ${arg.options?.join('|')}`;
  const short = 'alias' in arg && typeof arg.alias === 'string' ? `, -${arg.alias}` : '';
  if (arg.type === 'string') return `--${name}${short} <${arg.valueHint ?? name}>`;
  return arg.default === true ? `--no-${name}` : `--${name}${short}`;
}

function pick(args: ArgsDef = {}, names: ArgsDef): ArgsDef {
  return Object.fromEntries(Object.entries(args).filter(([name]) => name in names));
}

function ownArgs(command: Command): ArgsDef {
  const entries = Object.entries((command.args ?? {}) as ArgsDef);
  return Object.fromEntries(
    entries.filter(
      // An argument without a description accepts what people type, but is not documented.
      ([name, arg]) => !(name in SHARED_ARGS) && arg.description !== undefined,
    ),
  );
}

function metaOf(command: Command): CommandMeta {
  return command.meta as CommandMeta;
}
