import { counted } from '#gather';
import { isUnknown, mayBeSignedAnew, untilKnown } from '../bootstrap/grants/until-known';
import { takeAnswer } from '../bootstrap/provision/take-answer';
import { throwIfAborted, untilAborted } from '../core/abort';
import { andThen } from '../core/and-then';
import type { AmeshFetchInit, CalledTarget } from '../core/answers/asking';
import type { TrustedDevice } from '../core/devices/allow-list';
import { fromBase64Url } from '../core/encoding';
import { AmeshError } from '../core/errors/amesh-error';
import { createPreparer, type PreparedRequest } from '../core/sign/client';
import { type ClientOptions, readOptions } from '../core/sign/options';
import { releasing } from '../core/sign/outgoing/outgoing';
import { refusalOf } from '../core/sign/refusal';
import {
  type HeardAnswer,
  type RequestToSign,
  type SignCallOptions,
  type SignedRequest,
  toUnsent,
  type UnsentRequest,
} from '../core/sign/unsent/sign-unsent';
import { isSafe } from '../core/wire/line';
import { confirmTarget } from '../pairing/confirm';
import { unusedProxy } from '../proxy/unused-proxy';
import { Delegate } from './delegate';
import { MACHINE_CODES } from './errors/codes';
import type { Machine } from './machine';
import { Moves } from './moves/take-move';
import type { AmeshOptions, AmeshSettings } from './options';
import { mayHaveOtherKey, withOtherKey } from './rotation/other-key';

/** The methods by which an instance calls other machines. */
export interface Calls {
  /**
   * `fetch` that signs each request with this machine's key, or with the delegation in AMESH_DELEGATION. Needs no `this`: you
   * may pass it on as a function.
   *
   * @throws TypeError if both a delegation and a folder are given; AmeshError `no_identity`, `answer_unproven`,
   *   `redirect_refused`, `clock_skew_too_large`, `payload_too_large`, `delegation_ended`, `allow_list_integrity_failure`; also what the
   *   underlying `fetch` throws
   */
  readonly fetch: (input: string | URL | Request, init?: AmeshFetchInit) => Promise<Response>;
  /**
   * Signs a request as {@link Calls.fetch} would, for programs that send it themselves, for example with another HTTP client. It
   * signs only for targets in the allow list, since amesh cannot see where the program sends the request. Sign each attempt
   * separately. Needs no `this`.
   *
   * @param request a `Request`, whose body is read, or its parts
   * @throws TypeError if both a delegation and a folder are given, and for a request that cannot be signed; AmeshError
   *   `unknown_target`, and like {@link Calls.fetch}
   * @see docs/client.md, "Requests that you send yourself"
   */
  readonly sign: (request: Request | RequestToSign, options?: SignCallOptions) => Promise<SignedRequest>;
}

type Open = () => Machine | Delegate;

/** `fetch` and `sign` of an instance: `fetch` signs and sends, `sign` signs for a program that sends the request itself. */
export function createCalls(options: AmeshOptions, settings: AmeshSettings, open: Open): Calls {
  const signer = () => {
    const found = open();
    return found instanceof Delegate
      ? found.signer()
      : andThen(found.opened(), ({ device }) => device.signer);
  };
  // The signer is opened for each request: the key of a machine may be replaced while the process runs.
  const client = readOptions(clientOptions(options, settings, open, signer), signer);
  const moves = new Moves();
  const prepare = createPreparer(client);
  const known = { ...client, targetOf: (authority: string) => knownTarget(open, authority) };
  return {
    fetch: (input, init) =>
      counted(async () => {
        const request = await prepare(input, init); // copied first: the caller may change its arguments later
        return releasing(request, () => send(request));
      }),
    sign: (input, how) =>
      counted(async () => {
        const request = await toUnsent(known, input, how); // copied first, as above
        return releasing(request, () => signFor(open(), request, moves));
      }),
  };

  async function send(request: PreparedRequest): Promise<Response> {
    const opened = open();
    try {
      return await (opened instanceof Delegate ? request.send() : sendAs(opened, request, moves));
    } catch (error) {
      if (!(opened instanceof Delegate)) moves.tell(error, opened, request.url);
      const why = settings.fetch === undefined ? unusedProxy(request.url, error, process.env) : null;
      if (why !== null) opened.log.once(why);
      throw error;
    }
  }
}

/** Signs a request for a program that sends it itself. */
async function signFor(
  opened: Machine | Delegate,
  request: UnsentRequest,
  moves: Moves,
): Promise<SignedRequest> {
  if (opened instanceof Delegate) return request.sign();
  const isNew = await enrolFor(opened, request);
  const untilEnded = <T>(work: Promise<T>) => untilAborted(request.signal, work);
  const signed = await request.sign();
  return {
    ...signed,
    async answered(answer) {
      let heard: HeardAnswer;
      try {
        heard = await signed.answered(answer);
      } catch (error) {
        moves.tell(error, opened, request.url);
        const { method, stream } = signed;
        const isAnew = await untilEnded(mayHaveOtherKey({ url: request.url, method }, error, opened));
        if (!isAnew || stream !== null) throw error;
        return { response: new Response(null, { status: 401 }), again: true }; // nothing else in the response is proven
      }
      const { response } = heard;
      await learn(opened, request, response, moves);
      const refused = { url: request.url, method: signed.method, isSafe: isSafe(signed.method) };
      const hasOther = isUnknown(response) && (await untilEnded(mayHaveOtherKey(refused, response, opened)));
      const knowsUs = async () => isNew || (await opened.bootstrap.held?.enrolAgain(request.url)) === true;
      const isKnown = isUnknown(response) && (await untilEnded(knowsUs())); // the next request benefits, too
      const again = heard.again || hasOther || (isKnown && mayBeSignedAnew(refused, response));
      return { response, again: again && signed.stream === null };
    },
  };
}

function clientOptions(
  options: AmeshOptions,
  settings: AmeshSettings,
  open: Open,
  signer: ClientOptions['signer'],
): ClientOptions {
  return {
    signer,
    targetOf: (authority) => findTarget(open(), authority),
    answers: options.answers,
    format: options.format,
    fetch: options.fetch,
    maxBufferedBytes: options.maxBufferedBytes,
    onRefusal: (refusal) => {
      open().log.clientRefusal(refusal);
      return settings.onRefusal?.(refusal); // if it returns a promise, the caller of this function handles that
    },
    onRotation: (answer) => {
      const found = open();
      if (found instanceof Delegate) return;
      return andThen(found.opened(), (opened) => found.rotation.note(answer, opened.rotation));
    },
  };
}

/** The target that has an authority, with the key that signs for it. */
async function findTarget(
  opened: Machine | Delegate,
  authority: string,
): Promise<CalledTarget | string | undefined> {
  if (opened instanceof Delegate) return opened.target(authority);
  const { bootstrap, list, rotation } = opened;
  const known = await list.current();
  const target = known.targetOf(authority);
  const called = bootstrap.held?.targetOf(authority, known) ?? (target && toCalledTarget(target));
  return called && rotation.called(called, await opened.opened());
}

/** @throws AmeshError `unknown_target` */
async function knownTarget(open: Open, authority: string): Promise<CalledTarget | string> {
  const opened = open();
  const found = await findTarget(opened, authority);
  if (found !== undefined) return found;
  const { unknown_target } = MACHINE_CODES;
  if (opened instanceof Delegate)
    throw new AmeshError(
      unknown_target,
      `Nothing was signed: the delegation of this program names no target with the host ${authority}.`,
      { fix: 'Make a new one on the device that made it, with the --target that is called.' },
    );
  throw new AmeshError(
    unknown_target,
    `Nothing was signed: no target in the allow list of this machine has the host ${authority}.`,
    {
      fix: unknown_target.fix,
      command: ['amesh', 'trust', 'add', '--role', 'target', '--host', authority, 'LINE'],
    },
  );
}

/** A target of the list, as a client calls it. */
export function toCalledTarget({ deviceId, publicKey, proves, keys }: TrustedDevice): CalledTarget {
  return { deviceId, publicKey: fromBase64Url(publicKey) as Uint8Array, proves, keys };
}

/**
 * Enrols with a grant, if there is one for the target of this request. Many calls may wait for one enrolment, so it goes on when
 * the signal of one of them ends its wait.
 *
 * @returns whether this machine has just enrolled
 */
async function enrolFor(
  { bootstrap }: Machine,
  { url, signal }: Pick<PreparedRequest, 'url' | 'signal'>,
): Promise<boolean> {
  if (!bootstrap.isPending) return false;
  throwIfAborted(signal);
  return untilAborted(signal, bootstrap.asCaller(url));
}

/** Sends a request of a machine, and learns from the response. */
async function sendAs(machine: Machine, request: PreparedRequest, moves: Moves): Promise<Response> {
  const { bootstrap, log } = machine;
  const isNew = await enrolFor(machine, request);
  const response = await untilKnown(withOtherKey(request, machine), {
    isNew,
    grant: bootstrap.held,
    tell: log.once,
  });
  await learn(machine, request, response, moves);
  return response;
}

async function learn(
  machine: Machine,
  { url }: Pick<PreparedRequest, 'url'>,
  response: Response,
  moves: Moves,
): Promise<void> {
  const { list, device, bootstrap, log } = machine;
  await bootstrap.held?.confirm(response, list);
  const unused = refusalOf(response) === 'unauthorized' ? bootstrap.grantElsewhere(url) : undefined;
  if (unused !== undefined) log.once(unused);
  await confirmTarget(response, list, device);
  await moves.take(response, machine);
  await takeAnswer(response, device, log.once);
}
