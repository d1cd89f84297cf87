import { Controller, type ControllerAction } from '../../src/pairing/ceremony/controller';
import { Target, type TargetAction } from '../../src/pairing/ceremony/target';
import type { Client } from '../relay/client';
import type { Party } from './ceremony';

/** One end of a pairing without amesh around it, that introduces itself as it likes. */
export interface HostilePeer {
  /** What the other side's people have to see or type. */
  readonly verificationCode: Promise<string>;
  /** Resolves once its relay has closed. */
  readonly ended: Promise<unknown>;
}

/** Joins a code with the real machine of a controller. Says yes to everything. */
export function hostileController(client: Client, code: string, party: Party): HostilePeer {
  const machine = new Controller({ code, ...party });
  client.join(code);
  return drive(
    client,
    async (message) => {
      if (message === null) return machine.handle({ type: 'start' });
      return machine.handle({ type: 'message', body: message });
    },
    async (action: ControllerAction) => {
      if (action.type === 'ask') return machine.handle({ type: 'answer', yes: true });
      return action.type === 'save' ? machine.handle({ type: 'saved' }) : [];
    },
  );
}

/** Waits at a code with the real machine of a target. Types what it is given. */
export function hostileTarget(
  client: Client,
  code: string,
  party: Party,
  typed: Promise<string>,
): HostilePeer {
  const machine = new Target({ code, ...party });
  return drive(
    client,
    async (message) => {
      return message === null ? [] : machine.handle({ type: 'message', body: message });
    },
    async (action: TargetAction) => {
      if (action.type === 'ask_code') return machine.handle({ type: 'typed', text: await typed });
      if (action.type === 'admit') return machine.handle({ type: 'admitted', yes: true });
      return action.type === 'save' ? machine.handle({ type: 'saved' }) : [];
    },
  );
}

function drive<A extends { readonly type: string }>(
  client: Client,
  handle: (message: string | null) => Promise<readonly A[]>,
  act: (action: A) => Promise<readonly A[]>,
): HostilePeer {
  let show: (code: string) => void = () => {};
  const verificationCode = new Promise<string>((resolve) => {
    show = resolve;
  });
  async function perform(actions: readonly A[]): Promise<void> {
    for (const action of actions) {
      const { type, body, verificationCode } = action as {
        type: string;
        body?: string;
        verificationCode?: string;
      };
      if (type === 'send') client.send({ type: 'msg', body });
      if (verificationCode !== undefined) show(verificationCode);
      await perform(await act(action));
    }
  }
  async function run(): Promise<void> {
    for (;;) {
      const frame = await client.next();
      if (frame === null) return;
      if (frame.type === 'peer') await perform(await handle(null));
      if (frame.type === 'msg') await perform(await handle(frame.body));
    }
  }
  return { verificationCode, ended: run() };
}
