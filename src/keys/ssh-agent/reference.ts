import { flawOf } from '../../process/environment';
import { plain } from '../slow/plain';
import { type AgentKey, KEY_TYPE, pointOf } from './public-key';

/** What the folder of an identity stores about a key in an agent. It is not secret. */
export interface Reference {
  /** The public key, as SSH writes it. */
  readonly blob: Uint8Array;
  /** The socket that was named for this key; undefined for the one of the session. */
  readonly socket: string | undefined;
}

const SOCKET = /^# Socket: (.+)$/m;
const KEY_LINE = new RegExp(`^${KEY_TYPE} ([A-Za-z0-9+/]+=*)(?: .*)?$`);

/** Writes a public key file of OpenSSH, which `ssh-keygen -l` reads. */
export function toReference({ blob, comment }: AgentKey, socket: string | undefined): string {
  return [
    '# The public key of a machine of amesh. The private key stays in the SSH agent.',
    ...(socket === undefined ? [] : [`# Socket: ${socket}`]),
    `${KEY_TYPE} ${Buffer.from(blob).toString('base64')} ${plain(comment)}`,
    '',
  ].join('\n');
}

/** @returns null for any other text */
export function fromReference(text: string): Reference | null {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  const [, base64] = KEY_LINE.exec(lines.length === 1 ? (lines[0] as string) : '') ?? [];
  if (base64 === undefined) return null;
  const blob = new Uint8Array(Buffer.from(base64, 'base64'));
  if (pointOf(blob) === null || Buffer.from(blob).toString('base64') !== base64) return null;
  const socket = SOCKET.exec(text)?.[1];
  return socket !== undefined && flawOf(socket) !== undefined ? null : { blob, socket };
}
