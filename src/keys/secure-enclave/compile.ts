import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmod, mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { AmeshError, type AmeshErrorOptions } from '../../core/errors/amesh-error';
import type { Env } from '../../process/home';
import { requireBeside } from '../../process/require-beside';
import { makePrivateFolder, writePrivateFile } from '../../storage/files/private-file';
import { readRegularFile } from '../../storage/files/regular-file';
import { syncFolder } from '../../storage/files/sync-folder';
import { KEY_CODES } from '../errors/codes';
import { NOTICE_MS, toPatience, type Waiting, waitFor } from '../slow/patience';
import { plain } from '../slow/plain';

/** The first run of a compiler after an update of Xcode takes a long time. */
const DEADLINE_MS = 300_000;
const MAX_HELPER_BYTES = 16 * 1024 * 1024;
/** The variables that Apple's tools need. They get no others. */
const TOOL_VARIABLES = ['PATH', 'HOME', 'TMPDIR', 'DEVELOPER_DIR', 'SDKROOT'];
/** The words of Apple's placeholder for swiftc, which opens a window. */
const NO_TOOLS = /xcode-select|developer tools|xcrun: error/i;

/** How to wait for the tools, and the environment in which to find them. */
interface Context extends Waiting {
  readonly env: Env;
}

let source: string | undefined;

/** Reads the source of the helper once: a process that gave up root may no longer be able to read its own packages. */
export async function loadSource(): Promise<string> {
  const folder = dirname(requireBeside().resolve('@authmesh/sdk/package.json'));
  source ??= await readFile(join(folder, 'src/keys/secure-enclave/helper.swift'), 'utf8');
  return source;
}

/** @throws AmeshError `key_backend_unavailable` if this is not a Mac, or there is no swiftc */
export async function assertTools(context: Context): Promise<void> {
  if (process.platform !== 'darwin') throw unavailable('Only a Mac has a Secure Enclave.');
  const { code, output } = await run('xcode-select', ['-p'], context); // opens no window, unlike swiftc
  if (code !== 0) throw noCompiler(output);
}

/**
 * Compiles the helper, as a file that only its owner can read and run.
 *
 * @param path of the helper; its folder is created
 * @returns the SHA-256 of the helper
 * @throws AmeshError `key_backend_unavailable`
 */
export async function compileHelper(path: string, context: Context): Promise<string> {
  await assertTools(context);
  await makePrivateFolder(dirname(path));
  const folder = await mkdtemp(join(dirname(path), '.helper-')); // private: nobody else can change what is compiled
  try {
    const [from, to] = [join(folder, 'helper.swift'), join(folder, 'helper')];
    await writePrivateFile(from, Buffer.from(await readSource()), 0o600);
    const { code, output } = await run('swiftc', ['-O', '-swift-version', '5', '-o', to, from], context);
    if (code === 'ENOENT' || (code !== 0 && NO_TOOLS.test(output))) throw noCompiler(output);
    const hash = code === 0 ? await hashOf(to) : null;
    if (hash === null) throw notCompiled(code, output);
    await chmod(to, 0o700);
    await rename(to, path);
    await syncFolder(dirname(path));
    return hash;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The SHA-256 of a helper, as hexadecimal digits; null if there is none. */
export async function hashOf(path: string): Promise<string | null> {
  const bytes = await readRegularFile(path, MAX_HELPER_BYTES).catch(() => null);
  return bytes === null ? null : createHash('sha256').update(bytes).digest('hex');
}

/** `key_backend_unavailable`, by default with the general fix. */
export function unavailable(detail: string, options: AmeshErrorOptions = {}): AmeshError {
  return new AmeshError(KEY_CODES.key_backend_unavailable, detail, options);
}

async function readSource(): Promise<string> {
  return loadSource().catch((cause) => {
    throw unavailable('The source of the helper for the Secure Enclave is missing in the package of amesh.', {
      fix: 'Install it again',
      command: ['npm', 'install', '@authmesh/sdk'],
      cause,
    });
  });
}

interface Ran {
  /** The exit code, a signal, or the code of an error of the system. */
  readonly code: number | string;
  /** What it wrote to stderr. */
  readonly output: string;
}

async function run(program: string, args: readonly string[], context: Context): Promise<Ran> {
  const patience = toPatience(
    context,
    `Waiting for ${program}, which prepares the helper for the Secure Enclave.`,
    {
      noticeMs: NOTICE_MS,
      deadlineMs: DEADLINE_MS,
    },
  );
  let kill = () => {};
  const ended = new Promise<Ran>((resolve) => {
    const child = execFile(program, args, { env: toolVariables(context.env) }, (error, _, output) =>
      resolve({ code: error === null ? 0 : (error.code ?? error.signal ?? 1), output }),
    );
    kill = () => child.kill('SIGKILL');
  });
  try {
    return await waitFor(patience, ended, () =>
      unavailable(`${program} has not finished in time.`, { fix: ADVICE }),
    );
  } finally {
    kill();
  }
}

function toolVariables(env: Env): Record<string, string> {
  const found = TOOL_VARIABLES.map((name) => [name, env[name]] as const);
  return Object.fromEntries(found.filter((entry): entry is [string, string] => entry[1] !== undefined));
}

const ADVICE =
  'Use Secretive with --backend ssh-agent, which is recommended for a Secure Enclave today: see docs/keys.md.';

function noCompiler(output: string): AmeshError {
  return unavailable('This Mac has no swiftc, which compiles the helper for the Secure Enclave.', {
    fix: `${ADVICE} Or install the command line tools of Apple`,
    command: ['xcode-select', '--install'],
    cause: new Error(plain(output)),
  });
}

function notCompiled(code: number | string, output: string): AmeshError {
  const line = output.split('\n').find((text) => text.includes('error:')) ?? `it ended with ${code}`;
  return unavailable(`swiftc did not compile the helper for the Secure Enclave: ${plain(line)}.`, {
    fix: ADVICE,
  });
}
