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

/** A failure for output as JSON or text. */
export interface Failure {
  readonly code: CommandCode | AmeshCode;
  /** What failed and why. */
  readonly message: string;
  /** What to do about it; empty if there is nothing to do. */
  readonly hint: string;
  readonly usage?: string | undefined;
  readonly exitCode: ExitCode;
  /** Whether to add that nothing was changed. */
  readonly sayUnchanged: boolean;
}

/** Commands that replace several files. The disk can fill up in between. */
const MOVING: ReadonlySet<string> = new Set(['amesh init', 'amesh trust reset']);

/** The beginning of the SDK's message about a wrong environment variable. */
const VARIABLE =
  /^((?:(?:AMESH|AUTH_MESH)_[A-Z_]+|(?:HTTPS?|ALL|NO)_PROXY|(?:https?|all|no)_proxy) .+?)(?:\. (?=[A-Z])(.+))?$/s;

/** Splits the SDK's message about a wrong variable into cause and fix; null for any other text. */
export function splitVariable(text: string): { wrong: string; hint: string } | null {
  const [, wrong, hint = ''] = VARIABLE.exec(text) ?? [];
  return wrong === undefined ? null : { wrong: hint === '' ? wrong : `${wrong}.`, hint };
}

/** Codes of failures that can happen after the first file was replaced. */
const LATE: ReadonlySet<string> = new Set(['store_busy', 'store_conflict']);

/**
 * @param path the failed command as typed
 * @param rawArgs its arguments
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
    const moved = anyMoved ? ' Copies of replaced files are in its folder replaced/.' : '';
    return {
      code: 'file_system_error',
      message: `The operating system refused: ${text}.`,
      hint: `Check that the folder (AUTH_MESH_DIR, default ~/.amesh) belongs to this user and has free space.${moved}`,
      exitCode: EXIT.failure,
      sayUnchanged: !moving,
    };
  }
  return {
    code: 'internal_error',
    message: `amesh has a bug: ${text}`,
    hint: `Please report it with the command that you ran. To see the current state: ${here('amesh list')}`,
    exitCode: EXIT.failure,
    sayUnchanged: false,
  };
}

function quietly(code: CommandCode, message: string, exitCode: ExitCode): Failure {
  return { code, message, hint: '', exitCode, sayUnchanged: false };
}
