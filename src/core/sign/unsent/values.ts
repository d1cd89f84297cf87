import { takeOver } from '../../answers/proven-by';

/** Headers as programs have them: those of `fetch`, or an object as Node has it, with a list for several lines of one name. */
export type HeaderValues =
  | NonNullable<RequestInit['headers']>
  | Readonly<Record<string, string | number | readonly string[] | undefined>>;

/** The head of an answer. */
export interface AnswerHead {
  /** The HTTP status. */
  readonly status: number;
  /** As they arrived. */
  readonly headers: HeaderValues;
}

/** @throws TypeError for what cannot be a header */
export function toHeaders(values: HeaderValues = {}): Headers {
  const headers = new Headers();
  const lines =
    Symbol.iterator in values ? [...(values as Iterable<[string, string]>)] : Object.entries(values);
  for (const [name, value] of lines) {
    if (value === undefined || name.startsWith(':')) continue; // a pseudo-header of HTTP/2
    for (const line of typeof value === 'object' ? value : [value]) headers.append(name, String(line));
  }
  return headers;
}

/** Converts a response to one of `fetch`; without a body, if only its head is known. */
export function toResponse(given: Response | AnswerHead, url: string): Response {
  if (typeof (given as Response).clone === 'function') return given as Response;
  const { status, headers } = given;
  const isAllowed = status >= 200 && status <= 599;
  const response = new Response(null, { status: isAllowed ? status : 200, headers: toHeaders(headers) });
  // Such as 101, after which the connection is upgraded.
  if (!isAllowed)
    Object.defineProperties(response, {
      status: { configurable: true, value: status },
      ok: { configurable: true, value: false },
    });
  takeOver(response, { url, redirected: false, type: 'basic' } as Response);
  return response;
}
