import { readFileSync } from 'node:fs';
import { dirname, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Fix, writeFix } from '../../core/errors/define-codes';
import type { IoRedisModule } from './client';
import type { RedisProblem } from './problem';

const MISSING: RedisProblem = {
  why: 'ioredis is not installed.',
  advice: { fix: 'Run', command: ['npm', 'install', 'ioredis'] },
};

/** ioredis is missing, or has an unsupported major version. */
export class IoRedisError extends Error {
  /** What is wrong: one sentence. */
  readonly why: string;
  /** What to do about it. */
  readonly advice: Fix;

  /**
   * Creates the error for one problem.
   *
   * @param problem what is wrong, and what to do
   */
  constructor({ why, advice }: RedisProblem) {
    super(`${why} ${writeFix(advice)}`);
    this.why = why;
    this.advice = advice;
  }
}

let loaded: IoRedisModule | undefined;

/**
 * Loads ioredis once: a process that gave up root may no longer be able to read its own packages. Outside a bundle, it is loaded
 * before this function returns its promise. That takes 90 ms, so it must be over when a server begins to listen.
 *
 * @throws IoRedisError if it is not installed, or has an unsupported major version
 */
export async function loadIoRedis(): Promise<IoRedisModule> {
  if (loaded !== undefined) return loaded;
  let module: IoRedisModule;
  try {
    const loadNow = requireOfPackage();
    module = loadNow === null ? toModule(await import('ioredis')) : toModule(loadNow('ioredis'));
  } catch (error) {
    const code = (error as { code?: unknown } | null)?.code;
    if (code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND') throw new IoRedisError(MISSING);
    throw error;
  }
  if (typeof module.Redis !== 'function') throw new IoRedisError(wrong('of this version'));
  loaded = module;
  return module;
}

/**
 * The error of {@link loadIoRedis}, if it can be known synchronously, so that a server that needs Redis does not start without
 * ioredis. Inside a bundle nothing is known, since the bundle may contain ioredis.
 *
 * @returns null if no error is known
 */
export function ioRedisProblem(): RedisProblem | null {
  const require = requireOfPackage();
  if (require === null) return null;
  try {
    require.resolve('ioredis');
  } catch (error) {
    return (error as { code?: unknown }).code === 'MODULE_NOT_FOUND' ? MISSING : null;
  }
  const version = versionOf(require);
  return version === null || /^(?:6\.|5\.(?:[4-9]|\d\d))/.test(version) ? null : wrong(version);
}

function toModule(module: unknown): IoRedisModule {
  return module as IoRedisModule;
}

function wrong(version: string): RedisProblem {
  return {
    why: `ioredis ${version} is installed, but amesh needs 5.4 or 6.`,
    advice: { fix: 'Run', command: ['npm', 'install', 'ioredis@6'] },
  };
}

function versionOf(require: NodeJS.Require): string | null {
  try {
    return String(JSON.parse(readFileSync(require.resolve('ioredis/package.json'), 'utf8')).version);
  } catch {
    return null;
  }
}

/** Resolves modules as this package does; null if this module is not a file of the package. */
function requireOfPackage(): NodeJS.Require | null {
  try {
    const require = process.getBuiltinModule('node:module').createRequire(import.meta.url);
    const root = dirname(require.resolve('@authmesh/sdk/package.json'));
    return fileURLToPath(import.meta.url).startsWith(root + sep) ? require : null;
  } catch {
    return null;
  }
}

/**
 * The message of an ioredis error, without the command that was sent: a server that does not know a command repeats its arguments,
 * and an argument of AUTH is a password.
 */
export function toReason(error: Error): Error {
  if (error instanceof IoRedisError) return error;
  return new Error(error.message.replace(/, with args beginning with: .*/s, ''));
}
