import { fetchFromHere } from './fetch';

/** The challenge of `verify()`, which no other server sends. */
const CHALLENGE = /(?:^|, *)AuthMesh error="/;

/** The response of a server to a request without a signature. */
export interface UnsignedAnswer {
  readonly status: number;
  /** Whether `verify()` refused it. */
  readonly isRefusedByAmesh: boolean;
  /** Another login that the response asks for, such as `Basic`; null if it asks for none. */
  readonly otherLogin: string | null;
}

/**
 * Sends one unsigned GET. If the server accepts it, a response to a signed request proves nothing.
 *
 * @returns null if there is no response
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

/** Looks for a path that `verify()` protects: the folders above a path, and `/api`. */
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
