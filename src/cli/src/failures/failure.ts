import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { AmeshCode } from '@authmesh/sdk/core';
import type { Found } from '../command-line/find-command';
import type { CommandCode } from '../errors/codes';
import { CommandError, DeclinedError, InterruptedError, UsageError } from '../errors/errors';
import { EXIT, EXIT_OF_CODE, type ExitCode } from '../errors/exit-codes';
import { loadAdmin, loadCore } from '../machine/load';
import { commandHere, here } from '../words/here';
import { pairAgain } from './again';
import { fixOf } from './fixes';

/** A failure as it is told, in JSON and on a terminal. */
export interface Failure {
  readonly code: CommandCode | AmeshCode;
  /** Whose fault it is and what it is. */
  readonly message: string;
  /** What to do about it; empty where there is nothing to do. */
  readonly hint: string;
  readonly usage?: string | undefined;
  readonly exitCode: ExitCode;
  /** Whether nothing can have been changed, and the message does not say so itself. */
  readonly sayUnchanged: boolean;
}

/** These replace several files, and the disk can fill up in between. */
const MOVING: ReadonlySet<string> = new Set(['amesh init', 'amesh trust reset']);

/** How the SDK begins what it says of an environment variable that it cannot read. */
const VARIABLE =
  /^((?:(?:AMESH|AUTH_MESH)_[A-Z_]+|(?:HTTPS?|ALL|NO)_PROXY|(?:https?|all|no)_proxy) .+?)(?:\. (?=[A-Z])(.+))?$/s;

/** What is wrong with a variable and what to do, as the SDK says it in one text; null where it is no such text. */
export function splitVariable(text: string): { wrong: string; hint: string } | null {
  const [, wrong, hint = ''] = VARIABLE.exec(text) ?? [];
  return wrong === undefined ? null : { wrong: hint === '' ? wrong : `${wrong}.`, hint };
}

/** What can still go wrong after the first of them was replaced. */
const LATE: ReadonlySet<string> = new Set(['store_busy', 'store_conflict']);

/**
 * @param path the command that failed, as it is typed
 * @param rawArgs what was behind it
 * @param usage its usage line
 */
export async function toFailure(
  error: unknown,
  { path, rawArgs }: Pick<Found, 'path' | 'rawArgs'>,
  usage: string,
): Promise<Failure> {
  if (error instanceof UsageError) {
    const { message, hint = '' } = error;
    return {
      code: 'usage',
      message,
      hint,
      usage: error.usage ?? usage,
      exitCode: EXIT.usage,
      sayUnchanged: true,
    };
  }
  if (error instanceof DeclinedError) return quietly('declined', error.message, EXIT.declined);
  if (error instanceof InterruptedError) return quietly('interrupted', error.message, EXIT.interrupted);
  if (error instanceof CommandError) {
    const { code, message, hint, isUnchanged } = error;
    const exitCode = EXIT_OF_CODE[code] ?? EXIT.failure;
    return { code, message, hint, exitCode, sayUnchanged: isUnchanged };
  }
  const { fixWith, isAmeshError } = await loadCore();
  if (isAmeshError(error)) {
    const { code } = error;
    const unchanged =
      code !== 'store_unsynced' && code !== 'pairing_unconfirmed' && !(MOVING.has(path) && LATE.has(code));
    return {
      code,
      message: error.detail,
      hint:
        (await pairAgain(error, path, rawArgs)) ?? fixOf(error, path, rawArgs) ?? fixWith(error, commandHere),
      exitCode: EXIT_OF_CODE[code] ?? EXIT.failure,
      sayUnchanged: unchanged,
    };
  }
  const text = error instanceof Error ? error.message : String(error);
  const variable = error instanceof TypeError ? splitVariable(text) : null;
  if (variable !== null) {
    const { wrong: message, hint } = variable;
    return { code: 'usage', message, hint, exitCode: EXIT.usage, sayUnchanged: true };
  }
  if (error instanceof Error && 'syscall' in error) {
    const moving = MOVING.has(path);
    const { homeDir } = await loadAdmin();
    const anyMoved = moving && existsSync(join(homeDir(undefined, process.env), 'replaced'));
    const moved = anyMoved ? ' A copy of what was replaced, if anything, lies in its folder replaced/.' : '';
    return {
      code: 'file_system_error',
      message: `The operating system refused: ${text}.`,
      hint: `Check that the folder (AUTH_MESH_DIR, default ~/.amesh) belongs to this account and has room.${moved}`,
      exitCode: EXIT.failure,
      sayUnchanged: !moving,
    };
  }
  return {
    code: 'internal_error',
    message: `amesh itself failed: ${text}`,
    hint: `This is a bug; please report it with the command that you ran. See what is there now: ${here('amesh list')}`,
    exitCode: EXIT.failure,
    sayUnchanged: false,
  };
}

function quietly(code: CommandCode, message: string, exitCode: ExitCode): Failure {
  return { code, message, hint: '', exitCode, sayUnchanged: false };
}
