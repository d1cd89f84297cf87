import type { AllowListDocument } from '@authmesh/sdk/admin';
import { createClient, type Signer } from '@authmesh/sdk/core';
import { here } from '../here';
import { clockIn, type SeenClock } from './clock';
import { type Finding, failed, ok, skipped, warning } from './finding';

export interface FoundTarget extends Finding {
  readonly clock?: SeenClock | null;
}

/** Calls a server as `amesh.fetch` does, with one signed GET, and notes nothing of what it answers. */
export async function checkTarget(
  url: URL,
  signer: Signer | undefined,
  document: AllowListDocument | undefined,
  signal: AbortSignal,
): Promise<FoundTarget> {
  if (signer === undefined || document === undefined)
    return skipped('Not called: there is no key to sign with, or no list.');
  const target = document.devices.find(
    ({ roles, hosts }) => roles.includes('target') && hosts.includes(url.host),
  );
  const refusals: { message: string; fix: string }[] = [];
  const { fetch } = createClient({
    signer,
    targetOf: () => target?.deviceId,
    onReject: (refusal) => void refusals.push(refusal),
  });
  const shown = url.origin + url.pathname; // a query may hold secrets
  const askedAtMs = Date.now();
  let response: Response;
  try {
    response = await fetch(url, { signal });
  } catch (error) {
    if (signal.aborted) throw error;
    const { message, cause } = error as Error & { cause?: { code?: string } };
    const why = cause?.code ?? message;
    return failed(`${shown} does not answer: ${why}.`, 'Check that the server runs, and the address.');
  }
  await response.body?.cancel();
  const clock = clockIn(url, response, askedAtMs);
  const [refusal] = refusals;
  if (refusal !== undefined) return { ...failed(`${shown}: ${refusal.message}`, refusal.fix), clock };
  const text = `${shown} answers ${response.status}.`;
  if (!response.ok)
    return { ...warning(`${text} This comes from the server behind amesh, or another.`, null), clock };
  if (target !== undefined)
    return { ...ok(`${text} The request was signed for "${target.friendlyName}".`), clock };
  const command = here(`amesh trust add --role target --host ${url.host}`);
  return {
    ...warning(`${text} No target in the list has this host, so the request did not name one.`, command),
    clock,
  };
}
