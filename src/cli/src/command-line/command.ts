import type { ArgsDef, CommandDef } from 'citty';
import type { ExitCode } from '../errors/exit-codes';

// biome-ignore lint/suspicious/noExplicitAny: citty's own type for a command with any arguments
export type Command = CommandDef<any> & {
  /** What its subcommands do, if that is known without loading them. */
  readonly summaries?: Readonly<Record<string, string>>;
};

/** The result of a command, for every output format. Only run.ts prints. */
export interface Result {
  /** The object of `--json`, without `ok`. */
  readonly json: Readonly<Record<string, unknown>>;
  /** Objects that `--json` prints before that one, each on its own line. */
  readonly before?: readonly object[];
  /** The data, line by line, for stdout. */
  readonly data?: readonly string[];
  /** A text to print on stdout unchanged, instead of `data`. */
  readonly text?: string;
  /** Bytes to print on stdout as they come, after `data`. `--json` has them as `body`, or in base64 as `bodyBase64`. */
  readonly stream?: AsyncIterable<Uint8Array>;
  /** Lines for stderr before anything else. */
  readonly first?: readonly string[];
  /** What happened and what to do next, line by line, for stderr. */
  readonly notes?: readonly string[];
  /** The exit code of a command that ran but found a problem; default 0. */
  readonly exitCode?: ExitCode;
}

/** The flags that every command takes. */
export const SHARED_ARGS = {
  json: { type: 'boolean', description: 'Print one JSON object on stdout' },
  yes: { type: 'boolean', description: 'Answer yes to all questions' },
  quiet: { type: 'boolean', description: 'Print only data and failures' },
  color: { type: 'boolean', default: true, negativeDescription: 'Print without colours, like NO_COLOR' },
  help: { type: 'boolean', alias: 'h', description: 'Print this help' },
  version: { type: 'boolean', alias: 'v', description: 'Print the version' },
} as const satisfies ArgsDef;

/** The flag of commands that tell callers about this machine as a target. */
export const PROOFS_ARG = {
  proofs: {
    type: 'boolean',
    default: true,
    description: 'Whether the servers of this machine prove their answers',
    negativeDescription:
      'Callers must not expect proven answers: some servers of the target have no private key and no answer key',
  },
} as const satisfies ArgsDef;

/** The argument of commands that are about one device. */
export const DEVICE_ARG = {
  type: 'positional',
  required: true,
  valueHint: 'id|name',
  description: 'The device: see amesh list',
} as const satisfies ArgsDef[string];

/** Whether an argument may be given several times: its value hint ends in three dots. */
export function isRepeated({ valueHint }: { readonly valueHint?: string | undefined }): boolean {
  return valueHint?.endsWith('...') ?? false;
}
