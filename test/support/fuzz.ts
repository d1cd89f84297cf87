import type { Signer } from '@authmesh/sdk/core';
import type { Seen } from '../contract/subject';
import { type Draft, mutate, Random } from './mutations';
import { type RawRequest, signedRaw } from './signed-raw';

/** What a server answered: whatever a handler of the contract says it saw, where one ran. */
export interface FuzzAnswer {
  /** null where nothing came, and the connection ended. */
  readonly status: number | null;
  readonly body: string;
}

/** Sends a request that was changed, in whatever way the server takes requests; `sent` is what of it can be read as lines. */
export type Send = (draft: Draft, random: Random) => Promise<{ answer: FuzzAnswer; sent: readonly string[] }>;

export interface FuzzOutcome {
  readonly requests: number;
  /** With the meaning that was signed: what was changed did not matter. */
  accepted: number;
  refused: number;
  unanswered: number;
  /** Must stay empty: what was signed, what was sent, and what the handler saw. */
  readonly otherMeaning: string[];
}

const SIGNED = [
  { method: 'GET', target: '/a/b?x=1&y=2' },
  { method: 'DELETE', target: '/orders/7' },
  {
    method: 'POST',
    target: '/a/b?x=1',
    body: '{"amount":1}',
    headers: { 'content-type': 'application/json' },
  },
  { method: 'PUT', target: '/orders/7', body: 'a=1&b=2', headers: { 'content-type': 'text/plain' } },
  { method: 'POST', target: '/a%2Fb', body: 'x'.repeat(2000), headers: { 'content-type': 'text/plain' } },
] as const;

/**
 * Signs requests, changes them, and looks whether any of them was let in as another one than was signed: with another method,
 * target, authority, covered header, body or caller.
 */
export async function fuzz(
  signer: Signer,
  authority: string,
  caller: string,
  { requests, seed, atOnce }: { requests: number; seed: number; atOnce: number },
  send: Send,
  sha256: (bytes: Uint8Array) => string,
): Promise<FuzzOutcome> {
  const outcome: FuzzOutcome = { requests, accepted: 0, refused: 0, unanswered: 0, otherMeaning: [] };
  let next = 0;
  const worker = async () => {
    while (next < requests) {
      const random = new Random(seed + next++); // each by its own number, so that one can be sent alone
      const sign = () =>
        signedRaw(signer, authority, random.pick(SIGNED), { format: random.pick(['authmesh', 'rfc9421']) });
      const [signed, other] = [await sign(), await sign()];
      const draft = mutate(signed, other, random);
      const { answer, sent } = await send(draft, random);
      judge(outcome, answer, [signed, other], sent);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  return outcome;

  function judge(
    to: FuzzOutcome,
    { status, body }: FuzzAnswer,
    from: RawRequest[],
    sent: readonly string[],
  ): void {
    if (status === null) to.unanswered++;
    else if (status !== 200) to.refused++;
    else {
      const seen = seenIn(body);
      const meant = from.some((signed) => isMeant(signed, seen, sent));
      if (meant) to.accepted++;
      else to.otherMeaning.push(JSON.stringify({ signed: from[0]?.line, sent, seen: seen ?? body }));
    }
  }

  function isMeant(signed: RawRequest, seen: Seen | null, sent: readonly string[]): boolean {
    // A response to HEAD has no body to say anything: none was signed, so none may come.
    if (seen === null) return false;
    const [method, target] = signed.line.split(' ');
    return (
      seen.method === method &&
      // An empty query and none are one to @query, as RFC 9421 section 2.2.7 has it.
      seen.target.replace(/\?$/, '') === target &&
      seen.sha256 === sha256(signed.body) &&
      seen.caller.deviceId === caller &&
      valuesOf(sent, 'host').includes(authority) &&
      (!signed.headers.some((line) => line.includes('"content-type"')) ||
        valuesOf(sent, 'content-type').includes(valuesOf(signed.headers, 'content-type')[0] ?? ''))
    );
  }
}

function seenIn(body: string): Seen | null {
  try {
    return JSON.parse(body) as Seen;
  } catch {
    return null;
  }
}

/** What lines of this name say. */
function valuesOf(lines: readonly string[], name: string): string[] {
  return lines
    .filter((line) => line.slice(0, line.indexOf(':')).trim().toLowerCase() === name)
    .map((line) => line.slice(line.indexOf(':') + 1).trim());
}
