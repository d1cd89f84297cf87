import type { ArgsDef, CommandDef } from 'citty';
import type { ExitCode } from '../errors/exit-codes';

// biome-ignore lint/suspicious/noExplicitAny: how citty itself says "whatever its arguments are"
export type Command = CommandDef<any>;

/** What a command has to say, in every form that it may be asked for. Only run.ts prints. */
export interface Result {
  /** The object of `--json`, beside `ok`. */
  readonly json: Readonly<Record<string, unknown>>;
  /** The data itself, line by line, for stdout. */
  readonly data?: readonly string[];
  /** What happened and what comes next, line by line, for stderr. */
  readonly notes?: readonly string[];
  /** Of a command that has done its work and found something wrong; default 0. */
  readonly exitCode?: ExitCode;
}

/** The flags that every command takes. */
export const SHARED_ARGS = {
  json: { type: 'boolean', description: 'Print one JSON object on stdout' },
  yes: { type: 'boolean', description: 'Answer yes where it would ask' },
  quiet: { type: 'boolean', description: 'Print data and failures only' },
  color: { type: 'boolean', default: true, negativeDescription: 'Print without colours, as NO_COLOR does' },
  help: { type: 'boolean', alias: 'h', description: 'Print this' },
  version: { type: 'boolean', alias: 'v', description: 'Print the version' },
} as const satisfies ArgsDef;
