import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Fix, writeFix } from '../../core/errors/define-codes';
import type { IoRedisModule } from './client';

/** What is wrong, and what mends it. */
export interface IoRedisProblem {
  readonly why: string;
  readonly advice: Fix;
}

const MISSING: IoRedisProblem = {
  why: 'ioredis is not installed.',
  advice: { fix: 'Run', command: ['npm', 'install', 'ioredis'] },
};

/** ioredis is not there, or of a major that is not known here. */
export class IoRedisError extends Error {
  readonly why: string;
  readonly advice: Fix;

  constructor({ why, advice }: IoRedisProblem) {
    super(`${why} ${writeFix(advice)}`);
    this.why = why;
    this.advice = advice;
  }
}

let loaded: IoRedisModule | undefined;

/**
 * Loads it once: a process that has given up root may no longer be able to read its own packages.
 *
 * @throws IoRedisError where it is not installed, or of a major that is not known here
 */
export async function loadIoRedis(): Promise<IoRedisModule> {
  if (loaded !== undefined) return loaded;
  let module: IoRedisModule;
  try {
    module = (await import('ioredis')) as unknown as IoRedisModule;
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
 * What {@link loadIoRedis} will say, as far as it can be known at once, so that a server that was told to use Redis does
 * not start without it. Inside a bundle nothing can be known: ioredis may be in it.
 *
 * @returns null where nothing is known to be wrong
 */
export function ioRedisProblem(): IoRedisProblem | null {
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

function wrong(version: string): IoRedisProblem {
  return {
    why: `ioredis ${version} is installed, and amesh needs 5.4 or 6.`,
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

/** Finds what this package finds; null where this module is no file of the package. */
function requireOfPackage(): NodeJS.Require | null {
  try {
    const require = createRequire(import.meta.url);
    const root = dirname(require.resolve('@authmesh/sdk/package.json'));
    return fileURLToPath(import.meta.url).startsWith(root + sep) ? require : null;
  } catch {
    return null;
  }
}
