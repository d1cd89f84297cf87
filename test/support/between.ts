import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { type RawData, WebSocket, WebSocketServer } from 'ws';

/** The messages of a pairing, by who sends them. */
const NAMES = { controller: ['M1', 'M3', 'M4', 'M7'], target: ['M2', 'M5', 'M6', 'M8'] } as const;
export type MessageName = (typeof NAMES)['controller' | 'target'][number];

/** What is done to the frames of one side, each of which comes here in its turn. */
export interface Hands {
  /** Passes a frame on, to where it was going. */
  pass(frame: string): void;
  /** Cuts both connections of this side, without a goodbye. What was passed on before still arrives. */
  cut(): void;
}

/** Somebody on the line: gets every message of the pairing. What comes behind one waits until it is done with. */
export type Tamper = (name: MessageName, frame: string, hands: Hands) => void | Promise<void>;

export interface Between {
  /** Where the two machines believe that the relay is. */
  readonly url: string;
  close(): Promise<void>;
}

/** A proxy on the way to a real relay. */
export async function standBetween(relayPort: number, tamper: Tamper): Promise<Between> {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate: false });
  await once(server, 'listening');
  server.on('connection', (near) => {
    const far = new WebSocket(`ws://127.0.0.1:${relayPort}/ws`, { perMessageDeflate: false });
    const early: string[] = [];
    let side: keyof typeof NAMES = 'controller';
    let sent = 0;
    let turn: Promise<unknown> = Promise.resolve();
    const hands: Hands = {
      pass: (frame) => (far.readyState === WebSocket.OPEN ? far.send(frame) : void early.push(frame)),
      cut: () => {
        near.terminate();
        far.close();
      },
    };
    far.on('open', () => {
      for (const frame of early.splice(0)) far.send(frame);
    });
    near.on('message', (data) => {
      const frame = String(data);
      const { type } = JSON.parse(frame) as { type: string };
      if (type === 'listen') side = 'target';
      const name = type === 'msg' ? NAMES[side][sent++] : undefined;
      turn = turn.then(() => (name === undefined ? hands.pass(frame) : tamper(name, frame, hands)));
    });
    far.on('message', (data: RawData) => near.readyState === WebSocket.OPEN && near.send(String(data)));
    far.on('close', () => near.close());
    near.on('close', () => {
      turn = turn.then(() => far.close());
    });
    for (const socket of [near, far]) socket.on('error', () => {});
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: `ws://127.0.0.1:${port}/ws`,
    async close() {
      for (const client of server.clients) client.terminate();
      server.close();
      await once(server, 'close');
    },
  };
}
