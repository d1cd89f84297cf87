import { fromBase64Url, toBase64Url, toUtf8 } from '../../core/encoding';
import { AmeshError } from '../../core/errors/amesh-error';
import { TOKEN_LABELS } from '../../core/wire/labels';
import { newCipher } from '../../pairing/ceremony/suite';
import { PAIRING_CODES } from '../../pairing/errors/codes';
import { RelaySocket } from '../../pairing/relay/socket';
import { keyOf } from './registration';

const ANSWER_MS = 10_000;
const NONCE_BYTES = 12;
const NOTHING = new Uint8Array();

/**
 * Puts a registration into the mailbox of its token. It is sealed: the relay learns neither its sender nor its recipient.
 *
 * @throws AmeshError `relay_unreachable`
 */
export async function postRegistration(relay: string, secret: string, text: string): Promise<void> {
  const nonce = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
  const sealed = await (await cipherOf(secret)).seal(nonce, NOTHING, toUtf8(text));
  const body = toBase64Url(Uint8Array.of(...nonce, ...sealed));
  const socket = await RelaySocket.connect(relay);
  try {
    socket.send({ type: 'post', v: 1, box: await boxOf(secret), body });
    // The relay closes the connection when it has the message. Anything else that it sends does not matter.
    await socket.next(ANSWER_MS).catch(() => {});
  } finally {
    await socket.close();
  }
}

/** Where to wait for a machine that takes a token, and how long. */
export interface WaitOptions {
  /** The relay in the token, `ws://` or `wss://`. */
  readonly relay: string;
  /** The `secret` of the token: 32 bytes in base64url. */
  readonly secret: string;
  /** When to give up, Unix milliseconds. */
  readonly untilMs: number;
  /** Cancels the wait. */
  readonly signal?: AbortSignal | undefined;
  /** Called every few seconds: whether the machine has registered in another way. */
  readonly isKnown: () => Promise<boolean>;
}

const LOOK_EVERY_MS = 3_000;

/**
 * Waits at the mailbox of a token.
 *
 * @returns the machine's registration, for `takeRegistration()`; null after `untilMs`, or if it registered in another way
 * @throws AmeshError `relay_unreachable`, `relay_busy`; the signal's reason
 */
export async function waitForRegistration(options: WaitOptions): Promise<string | null> {
  const { relay, secret, untilMs, signal, isKnown } = options;
  const box = await boxOf(secret);
  while (Date.now() < untilMs) {
    const socket = await RelaySocket.connect(relay, signal);
    const startedAtMs = performance.now();
    try {
      socket.send({ type: 'wait', v: 1, box });
      for (;;) {
        const frame = await socket.next(LOOK_EVERY_MS, signal);
        if (frame?.type === 'msg') return open(secret, frame.body);
        if (frame?.type === 'error') {
          // A mailbox lasts five minutes. If a relay ends it immediately, reconnecting would be an endless loop.
          if (frame.code === 'session_expired' && performance.now() - startedAtMs > LOOK_EVERY_MS) break;
          throw new AmeshError(
            PAIRING_CODES.relay_busy,
            `The relay at ${relay} does not let this machine wait (${frame.code}).`,
          );
        }
        if (Date.now() >= untilMs || (await isKnown())) return null;
      }
    } finally {
      await socket.close();
    }
  }
  return null;
}

async function open(secret: string, body: string): Promise<string | null> {
  const bytes = fromBase64Url(body) ?? NOTHING;
  const cipher = await cipherOf(secret);
  const plain = await cipher.open(bytes.slice(0, NONCE_BYTES), NOTHING, bytes.slice(NONCE_BYTES));
  return plain === null ? null : new TextDecoder().decode(plain);
}

async function cipherOf(secret: string) {
  return newCipher(await keyOf(secret, TOKEN_LABELS.secret.sealKey, 32));
}

async function boxOf(secret: string): Promise<string> {
  return toBase64Url(await keyOf(secret, TOKEN_LABELS.secret.mailbox, 16));
}
