import { fetchFromHere } from './fetch';

/** The challenge of `verify()`, which no other server sends. */
const CHALLENGE = /(?:^|, *)AuthMesh error="/;

/** The answer of a server to a request without a signature. */
export interface UnsignedAnswer {
  readonly status: number;
  /** Whether `verify()` has refused it. */
  readonly isRefusedByAmesh: boolean;
  /** Another login that the answer asks for, such as `Basic`; null where it asks for none. */
  readonly otherLogin: string | null;
}

/**
 * Sends one unsigned GET. A signed request that is answered proves nothing where this one is answered as well.
 *
 * @returns null where no answer comes
 */
export async function callUnsigned(url: URL, signal: AbortSignal): Promise<UnsignedAnswer | null> {
  try {
    const response = await fetchFromHere(url, { signal, redirect: 'manual' });
    await response.body?.cancel();
    return toUnsignedAnswer(response);
  } catch (error) {
    if (signal.aborted) throw error;
    return null;
  }
}

function toUnsignedAnswer({ status, headers }: Response): UnsignedAnswer {
  const challenge = headers.get('www-authenticate') ?? '';
  const isRefusedByAmesh = status === 401 && CHALLENGE.test(challenge);
  const otherLogin = isRefusedByAmesh ? null : (/^[\w-]{1,40}/.exec(challenge)?.[0] ?? null);
  return { status, isRefusedByAmesh, otherLogin };
}

/** Where else an application may have put `verify()`: on the folders above a path, and on `/api`. */
export async function findProtectedPath(url: URL, signal: AbortSignal): Promise<URL | null> {
  const paths = new Set(['/api', '/api/', '/']);
  for (let path = url.pathname; path.length > 1 && paths.size < MAX_PATHS; ) {
    path = path.slice(0, path.lastIndexOf('/', path.length - 2) + 1);
    paths.add(path);
  }
  paths.delete(url.pathname);
  const found = await Promise.all(
    [...paths].map(async (path) => {
      const candidate = new URL(path, url.origin);
      const answer = await callUnsigned(candidate, signal);
      return answer?.isRefusedByAmesh ? candidate : null;
    }),
  );
  return found.find((candidate) => candidate !== null) ?? null;
}

const MAX_PATHS = 5;
