import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { AmeshCode } from '@authmesh/sdk/core';
import type { Found } from '../command-line/find-command';
import { isLate } from '../errors/changes';
import type { CommandCode } from '../errors/codes';
import { CommandError, DeclinedError, InterruptedError, UNCHANGED, UsageError } from '../errors/errors';
import { EXIT, EXIT_OF_CODE, type ExitCode } from '../errors/exit-codes';
import { loadCore, loadList } from '../machine/load';
import { commandHere, here } from '../words/here';
import { inOwnWords } from '../words/own-words';
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
const MOVING: ReadonlySet<string> = new Set(['amesh init', 'amesh trust reset', 'amesh trust take-over']);

/** Codes of failures that can happen after the first file was replaced. */
const LATE: ReadonlySet<string> = new Set(['store_busy', 'store_conflict']);

type Failed = Pick<Found, 'path' | 'rawArgs'>;

/**
 * What the command line says about an error.
 *
 * @param failed the failed command as typed, and its arguments
 * @param usage its usage line
 */
export async function toFailure(error: unknown, failed: Failed, usage: string): Promise<Failure> {
  const failure =
    ofCommandLine(error, usage) ??
    (await ofSdk(error, failed)) ??
    (await ofVariable(error)) ??
    (await ofSystem(error, failed.path)) ??
    ofItself(error);
  return isLate(error) ? { ...failure, sayUnchanged: false } : failure;
}

/** An error of the command line itself; null for any other error. */
function ofCommandLine(error: unknown, usage: string): Failure | null {
  if (error instanceof UsageError) {
    const { message, hint = '' } = error;
    return wrongUsage(message, hint, error.usage ?? usage);
  }
  if (error instanceof DeclinedError || error instanceof InterruptedError) return stopped(error);
  if (!(error instanceof CommandError)) return null;
  const { code, message, hint, isUnchanged } = error;
  return { code, message, hint, exitCode: EXIT_OF_CODE[code] ?? EXIT.failure, sayUnchanged: isUnchanged };
}

/** The user has stopped the command. */
function stopped(error: DeclinedError | InterruptedError): Failure {
  const code = error instanceof DeclinedError ? 'declined' : 'interrupted';
  const isUnchanged = error.isUnchanged && !isLate(error);
  const message = isUnchanged ? `${error.message} ${UNCHANGED}` : error.message;
  return { code, message, hint: '', exitCode: EXIT[code], sayUnchanged: false };
}

/** An error with a code; null for any other error. */
async function ofSdk(error: unknown, { path, rawArgs }: Failed): Promise<Failure | null> {
  const { fixWith, isAmeshError } = await loadCore();
  if (!isAmeshError(error)) return null;
  const { code, detail } = error;
  const isChanged =
    code === 'store_unsynced' || code === 'pairing_unconfirmed' || (MOVING.has(path) && LATE.has(code));
  const hint =
    (await pairAgain(error, path, rawArgs)) ??
    (await fixOf(error, path, rawArgs)) ??
    fixWith(error, commandHere);
  return {
    code,
    message: inOwnWords(detail, path),
    hint: inOwnWords(hint, path),
    exitCode: EXIT_OF_CODE[code] ?? EXIT.failure,
    sayUnchanged: !isChanged,
  };
}

/** The error of a wrong environment variable; null for any other error. */
async function ofVariable(error: unknown): Promise<Failure | null> {
  const { VariableError } = await loadList();
  return error instanceof VariableError ? wrongUsage(error.detail, error.fix) : null;
}

/** An error of the operating system; null for any other error. */
async function ofSystem(error: unknown, path: string): Promise<Failure | null> {
  if (!(error instanceof Error && 'syscall' in error)) return null;
  const moving = MOVING.has(path);
  const moved =
    moving && (await hasReplaced()) ? ' Copies of replaced files are in its folder replaced/.' : '';
  return {
    code: 'file_system_error',
    message: `The operating system refused: ${error.message}.`,
    hint: `Check that the folder (AUTH_MESH_DIR, default ~/.amesh) belongs to this user and has free space.${moved}`,
    exitCode: EXIT.failure,
    sayUnchanged: !moving,
  };
}

/** Whether the folder has copies of replaced files. If no folder can be found, the error that is reported says more. */
async function hasReplaced(): Promise<boolean> {
  const { homeDir } = await loadList();
  try {
    return existsSync(join(homeDir(undefined, process.env), 'replaced'));
  } catch {
    return false;
  }
}

/** An unexpected error. */
function ofItself(error: unknown): Failure {
  return {
    code: 'internal_error',
    message: `amesh has a bug: ${error instanceof Error ? error.message : String(error)}`,
    hint: `Please report it with the command that you ran. To see the current state: ${here('amesh list')}`,
    exitCode: EXIT.failure,
    sayUnchanged: false,
  };
}

function wrongUsage(message: string, hint: string, usage?: string): Failure {
  return { code: 'usage', message, hint, usage, exitCode: EXIT.usage, sayUnchanged: true };
}
