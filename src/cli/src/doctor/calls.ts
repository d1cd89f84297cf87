import type { Trial, TrialOptions } from '@authmesh/sdk/admin';
import { type Answers, AnswerUnprovenError, type ClientRefusal } from '@authmesh/sdk/core';
import { fetchFromHere } from './fetch';
import { type Finding, warning } from './finding';

/** A response, without its body. */
export interface Called {
  readonly response: Response;
  /** What it means, if amesh refused the request. */
  readonly refusal: ClientRefusal | undefined;
  /** When the request was sent, Unix milliseconds. */
  readonly askedAtMs: number;
  /** The error that `amesh.fetch` throws instead, because nothing proves the answer. */
  readonly unproven?: AnswerUnprovenError;
}

/** Signed GETs, as programs here would send them. */
export interface Calls extends Pick<Trial, 'targetOf'> {
  /**
   * Sends one. If the answer has to be proven and is not, it sends another one without asking for a proof, to learn what the answer
   * says.
   *
   * @throws like `amesh.fetch`, but not `answer_unproven`
   */
  call(url: URL): Promise<Called>;
  /** Whether a server accepts one, with a proof where a program would ask for it. */
  isAccepted(this: void, url: URL): Promise<boolean>;
  /** Adds what an instance would log about its keys. */
  withNotes(finding: Finding): Finding;
}

/** @param begin begins to call as programs here do */
export async function beginCalls(
  begin: (options: TrialOptions) => Promise<Trial>,
  signal: AbortSignal,
): Promise<Calls> {
  const refusals: ClientRefusal[] = [];
  const notes = new Set<string>();
  const trial = await begin({
    fetch: fetchFromHere,
    onRefusal: (refusal) => void refusals.push(refusal),
    tell: (line) => void notes.add(line),
  });
  const send = async (url: URL, answers: Answers, redirect: RequestRedirect): Promise<Called> => {
    refusals.length = 0;
    const askedAtMs = Date.now();
    const response = await trial.get(url, { signal, answers, redirect });
    await response.body?.cancel();
    // A request that another key has signed may follow one that was refused.
    return { response, refusal: refusals.findLast(({ status }) => status === response.status), askedAtMs };
  };
  return {
    targetOf: (host) => trial.targetOf(host),
    call: (url) =>
      send(url, 'auto', 'follow').catch(async (error) => {
        if (!(error instanceof AnswerUnprovenError)) throw error;
        return { ...(await send(url, 'off', 'follow')), unproven: error };
      }),
    isAccepted: (url) =>
      send(url, 'auto', 'manual').then(
        ({ refusal }) => refusal === undefined,
        (error) => {
          if (error instanceof AnswerUnprovenError) return false;
          throw error;
        },
      ),
    withNotes: (finding) => {
      if (notes.size === 0) return finding;
      const message = [finding.message, ...notes].join(' ');
      return finding.state === 'ok' ? warning(message, finding.fix) : { ...finding, message };
    },
  };
}

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
