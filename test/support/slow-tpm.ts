import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** TPM_CC_Sign. */
const SIGN = 0x15d;
const CODE_AT = 6;

/** What stands in front of a software TPM and makes it as slow as one of hardware. */
export interface SlowTpm {
  /** For AMESH_TPM. */
  readonly address: string;
  /** How many signatures it was asked for. */
  signatures: number;
  /** How long each command waits, in milliseconds. */
  delayMs: number;
  /** Response codes with which the next commands are answered, in the place of the TPM. */
  refusals: number[];
  close(): Promise<void>;
}

/** @param port of the software TPM, which serves one connection at a time */
export async function slowTpm(port: number, delayMs = 0): Promise<SlowTpm> {
  const open = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(port, '127.0.0.1');
    for (const socket of [near, far]) {
      open.add(socket);
      socket.on('error', () => {}); // its close follows
      socket.on('close', () => open.delete(socket));
    }
    near.on('close', () => far.destroy());
    far.on('close', () => near.destroy());
    far.pipe(near, { end: false });
    // A program sends a command when it has the answer to the one before it, so each chunk is one command.
    near.on('data', async (command) => {
      if (command.readUInt32BE(CODE_AT) === SIGN) slow.signatures++;
      if (slow.delayMs > 0) await sleep(slow.delayMs);
      const refusal = slow.refusals.shift();
      if (refusal !== undefined) near.write(toResponse(refusal));
      else if (!far.destroyed) far.write(command);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const slow: SlowTpm = {
    address: `tcp:127.0.0.1:${(server.address() as AddressInfo).port}`,
    signatures: 0,
    delayMs,
    refusals: [],
    async close() {
      const closed = once(server, 'close');
      server.close();
      for (const socket of open) socket.destroy();
      await closed;
    },
  };
  return slow;
}

/** A response without sessions and parameters. */
function toResponse(code: number): Buffer {
  const response = Buffer.alloc(10);
  response.writeUInt16BE(0x8001, 0);
  response.writeUInt32BE(response.length, 2);
  response.writeUInt32BE(code, CODE_AT);
  return response;
}
