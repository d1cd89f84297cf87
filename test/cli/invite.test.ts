import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { afterAll, describe, expect, it } from 'vitest';
import { WebSocketServer } from 'ws';
import { Client } from '../relay/client';
import { standBetween } from '../support/between';
import { Command } from '../support/command';
import { useRelay } from '../support/use-relay';
import { objectOf, useMachines } from './amesh';

const createMachine = useMachines();
const relay = useRelay();
const endings: (() => unknown)[] = [];
afterAll(() => Promise.all(endings.map((end) => end())));

describe.concurrent('a code', () => {
  const LETTERS =
    'A pairing code has 6 digits, but this has letters that look like digits: O for 0, l for 1.';
  const OTHER = 'A pairing code has 6 digits, with at most a gap or a hyphen.';
  it.concurrent.each([
    ['48291', 'A pairing code has 6 digits, but this has 5.'],
    ['4829167', 'A pairing code has 6 digits, but this has 7.'],
    ['012345', 'A pairing code does not begin with 0.'],
    ['012-345', 'A pairing code does not begin with 0.'],
    ['48O9l6', LETTERS],
    ['abc', OTHER],
    ['482916x', OTHER],
  ])('that is not a code: %s', async (code, message) => {
    const ran = await (await createMachine()).amesh(['invite', code, '--yes', '--relay', relay.url]);
    expect(ran.code).toBe(2);
    expect(ran.stderr).toContain(
      `✗ ${message}\n  Check it again: amesh listen shows it on the other machine.\n`,
    );
    expect(ran.stderr).toContain('No changes were made.\n');
  });

  it.concurrent.each([
    [['listen', '482916'], 'Type the code on the machine that calls: '],
    [['listen', '482', '916'], 'Type the code on the machine that calls: '],
    [['482916'], 'Did you mean: '],
    [['482', '916'], 'Did you mean: '],
    [['invite', '48', '29', '16'], 'Write the code as one word: '],
    [['invite', '4', '8', '2', '9', '1', '6'], 'Write the code as one word: '],
  ])('given as %j gets the hint where it belongs', async (args, hint) => {
    const machine = await createMachine();
    const ran = await machine.amesh(args);
    expect(ran.code).toBe(2);
    expect(ran.stderr).toContain(`  ${hint}${machine.here('amesh invite 482916')}\n`);
  });

  it.concurrent('that is a line for trust add', async () => {
    const ran = await (await createMachine()).amesh(['invite', 'amesh-p256 AkT9 prod-api']);
    expect(ran.stderr).toContain('  Pass a line of amesh trust export to: amesh trust add\n');
  });

  it.concurrent('that is unknown or used', async () => {
    const laptop = await createMachine('laptop');
    const unknown = await laptop.amesh(['invite', '100 000', '--yes', '--relay', relay.url]);
    expect(unknown.code).toBe(4);
    expect(unknown.stderr).toContain(`✗ Code 100 000 is unknown or expired on ${relay.url}.
  Ask for a new code, and check that both machines use the same relay: if \`amesh listen\` shows a line with --relay, run the whole line.
  No changes were made.
`);
    const listener = await Client.open(relay.port);
    const code = await listener.listen();
    await (await Client.open(relay.port)).join(code).next();
    const used = await laptop.amesh(['invite', code, '--yes', '--json', '--relay', relay.url]);
    expect(used.code).toBe(4);
    expect(objectOf(used)).toMatchObject({
      ok: false,
      error: { code: 'code_used', message: 'Somebody has already used this code.' },
    });
  });

  it.concurrent('is not used up if nobody could answer', async () => {
    const laptop = await createMachine('laptop');
    const listener = await Client.open(relay.port);
    const code = await listener.listen();
    const ran = await laptop.amesh(['invite', code, '--relay', relay.url]);
    expect(ran.code).toBe(2);
    expect(ran.stderr).toContain(
      '✗ This command asks what the other screen says, but there is no terminal.\n',
    );
    expect(await (await Client.open(relay.port)).join(code).next()).toEqual({ type: 'peer' });
  });

  it.concurrent('is accepted with a gap, as it is shown', async () => {
    const laptop = await createMachine('laptop');
    const listener = await Client.open(relay.port);
    const code = await listener.listen();
    const controller = new Command(laptop, [
      'invite',
      code.slice(0, 3),
      code.slice(3),
      '--yes',
      '--relay',
      relay.url,
    ]);
    expect(await listener.next()).toEqual({ type: 'peer' });
    controller.kill('SIGTERM');
    expect(await controller.ended).toBe(130);
  });
});

describe.concurrent('a relay', () => {
  it.concurrent('that is not there', async () => {
    const laptop = await createMachine('laptop');
    const ran = await laptop.amesh(['invite', '482916', '--yes', '--relay', 'ws://127.0.0.1:1']);
    expect(ran.code).toBe(3);
    expect(
      ran.stderr,
    ).toBe(`✗ The relay at ws://127.0.0.1:1/ws did not respond (ECONNREFUSED). Your devices are fine.
  On one network, no relay is needed: run amesh listen --serve on the other machine. With another relay: --relay URL. Without any: ${laptop.here('amesh trust export')}
  No changes were made.
`);
    // Without --relay, and on the other side.
    const env = { AMESH_RELAY_URL: 'ws://127.0.0.1:1' };
    const bare = await laptop.amesh(['invite', '482916', '--yes'], { env });
    expect(bare.stderr).toContain(
      '  Usually the line on the other screen has a --relay, and you must run the whole line. On one network, no relay is needed: run amesh listen --serve on the other machine.',
    );
    const listening = await laptop.amesh(['listen', '--relay', 'ws://127.0.0.1:1', '--host', 'a.example']);
    expect(listening.stderr).toContain(
      `  On one network, no relay is needed: ${laptop.here('amesh listen --serve --host a.example')}; with another relay: --relay URL; without any: ${laptop.here('amesh trust export')}\n`,
    );
  });

  it.concurrent('that is busy says when to try again, and the command ends even if the relay does not hang up', async () => {
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
    await once(server, 'listening');
    server.on('connection', (socket) =>
      socket.send(JSON.stringify({ type: 'error', code: 'rate_limited', retryAfter: 17 })),
    );
    const at = `ws://127.0.0.1:${(server.address() as AddressInfo).port}/ws`;
    const laptop = await createMachine('laptop');
    for (const args of [['invite', '482916', '--yes'], ['listen']]) {
      const ran = await laptop.amesh([...args, '--relay', at]);
      expect(ran.code).toBe(9);
      expect(ran.stderr).toContain(`✗ The relay at ${at} is busy (rate_limited).\n  Try again in 17 s.\n`);
    }
    server.close();
  });

  // The wait itself is what is promised.
  it.concurrent('that accepts the connection or the first frame, and then says nothing, gets 10 s', async () => {
    const deaf = createServer(() => {}).listen(0, '127.0.0.1');
    const mute = new WebSocketServer({ port: 0, host: '127.0.0.1' });
    await Promise.all([once(deaf, 'listening'), once(mute, 'listening')]);
    endings.push(
      () => deaf.close(),
      () => mute.close(),
    );
    const laptop = await createMachine('laptop');
    const runs = [deaf, mute].flatMap((server) => {
      const at = `ws://127.0.0.1:${(server.address() as AddressInfo).port}/ws`;
      return [['invite', '482916', '--yes'], ['listen']].map(async (args) => {
        const ran = await laptop.amesh([...args, '--relay', at]);
        expect(ran.stderr).toMatch(
          /did not respond (?:within 10 s|\(Opening handshake has timed out\))\. Your devices are fine\./,
        );
        return ran.code;
      });
    });
    expect(await Promise.all(runs)).toEqual([3, 3, 3, 3]);
  });
});

describe.concurrent('a pairing', () => {
  it.concurrent('of a machine with itself', async () => {
    const machine = await createMachine('alone');
    const target = new Command(machine, ['listen', '--relay', relay.url]);
    const ran = await machine.amesh([
      'invite',
      await target.until(/^(\d{6})$/m),
      '--yes',
      '--relay',
      relay.url,
    ]);
    const codes = [await target.ended, ran.code];
    expect(codes).toContain(1);
    expect(target.stderr + ran.stderr).toContain('✗ Both ends are this machine.\n');
    expect(target.stderr + ran.stderr).toContain(
      `If both run on this machine, each needs its own folder: AUTH_MESH_DIR=${machine.dir}-2 amesh init --name NAME, and then`,
    );
    expect((await machine.allowList()).devices).toEqual([]);
  });

  it.concurrent('whose last message is lost is shown as unconfirmed, even after Ctrl+C, until it is revoked', async () => {
    const [prod, laptop] = [await createMachine('prod-api'), await createMachine('laptop')];
    let committed: () => void = () => {};
    const lost = new Promise<void>((resolve) => {
      committed = resolve;
    });
    const between = await standBetween(relay.port, async (name, frame, { pass }) => {
      if (name !== 'M8') return pass(frame);
      committed();
      await new Promise(() => {}); // neither this nor the goodbye behind it
    });
    endings.push(() => between.close());
    const target = new Command(prod, ['listen', '--relay', between.url], { isProcess: true });
    const code = await target.until(/^(\d{6})$/m);
    const controller = new Command(laptop, ['invite', code, '--yes', '--relay', between.url]);
    target.type(await controller.until(/^(\d{6})$/m));
    await lost;
    controller.kill('SIGINT');
    expect(await controller.ended).toBe(130);
    expect(controller.stderr).toContain(
      '✗ Interrupted. The other machine did not confirm the pairing. It is stored here as unconfirmed. ',
    );
    expect(controller.stderr).not.toMatch(/no changes|nothing was changed/i);

    const listed = await laptop.amesh(['list']);
    expect(listed.stdout).toMatch(/^prod-api +am_\S+ +target \(unconfirmed\) /m);
    expect(listed.stderr).toContain('! "prod-api" has not confirmed the pairing.');
    expect(objectOf(await laptop.amesh(['list', '--json']))).toMatchObject({
      devices: [{ friendlyName: 'prod-api', roles: ['target'], unconfirmed: true }],
    });
    expect((await laptop.amesh(['revoke', 'prod-api', '--yes'])).code).toBe(0);
    expect((await laptop.allowList()).devices).toEqual([]);
    target.kill('SIGKILL');
    await target.ended;
  });

  it.concurrent('with somebody who changes a message ends with 7', async () => {
    const [prod, laptop] = [await createMachine('prod-api'), await createMachine('laptop')];
    const between = await standBetween(relay.port, (name, frame, { pass }) =>
      pass(name === 'M5' ? frame.replace(/"body":"..../, '"body":"AAAA') : frame),
    );
    endings.push(() => between.close());
    const target = new Command(prod, ['listen', '--relay', between.url]);
    const ran = await laptop.amesh([
      'invite',
      await target.until(/^(\d{6})$/m),
      '--yes',
      '--relay',
      between.url,
    ]);
    expect([ran.code, await target.ended]).toEqual([7, 5]);
    expect(ran.stderr).toContain(
      `✗ STOP: somebody between the two machines, possibly the relay, may be intercepting the pairing.\n`,
    );
    expect(ran.stderr).toContain('  Try again with your own relay: ');
    expect(ran.stderr).toMatch(/\n {2}No changes were made\.\n$/);
  });
});
