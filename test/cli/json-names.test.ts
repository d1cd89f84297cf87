import { describe, expect, it } from 'vitest';
import { readPage } from '../docs/blocks';
import { Command } from '../support/command';
import { objectOf, useMachines } from './amesh';

const createMachine = useMachines();

/** The rows of the table in the README of the command line: the names in addition to `ok` for each command. After a semicolon come the names of a flag, or of some machines. */
const [, rest = ''] = readPage('src/cli/README.md').split('| command | in addition to `ok` |');
const [table = ''] = rest.split('\n\n');
const documented = new Map(
  [...table.matchAll(/^\| `([a-z -]+)` \| (.*) \|$/gm)].map(([, command = '', cell = '']) => [
    command,
    [...(cell.split(';')[0] as string).matchAll(/`(\w+)`/g)].map(([, name = '']) => name),
  ]),
);

describe('the names of --json', () => {
  it('are those of the README, for each command that needs no other machine', async () => {
    const machine = await createMachine();
    const { publicKey } = await (await createMachine()).init('peer');
    const line = `amesh-p256 ${publicKey} peer`;
    const run = async (args: string[]) => objectOf(await machine.amesh([...args, '--json']));
    const seen: Record<string, string[]> = {};
    const see = async (command: string, ...more: string[]) => {
      const { ok, ...rest } = await run([...command.split(' '), ...more]);
      expect([command, ok]).toEqual([command, true]);
      seen[command] = Object.keys(rest);
      return rest;
    };

    await see('init', '--name', 'api');
    await see('status');
    await see('whoami');
    await see('keys');
    await see('list');
    await see('trust export');
    await see('trust hand-over', line.split(' ')[1] as string);
    await see('trust add', '--role', 'controller', line);
    await see('config');
    await see('config hosts', 'api.example.com,localhost:3000');
    await see('config relay', 'wss://relay.example.com/ws');
    await see('provision', '--name', 'server');
    const { id } = await see('grant', '--name', 'worker-*');
    await see('tokens');
    expect(await see('tokens cancel', 'server')).toMatchObject({ present: [] });
    expect(await see('tokens cancel', 'worker-*')).toEqual({ cancelled: id, present: [] });
    expect(await run(['revoke', '--grant', String(id), '--yes'])).toEqual({
      ok: true,
      grant: id,
      revoked: [],
    });
    await run(['trust', 'add', '--role', 'target', '--host', 'peer:3000', line]);
    const { id: delegation } = await see('delegate', '--name', 'a', '--scope', 'a', '--target', 'peer');
    await see('answer-key', '--for', '1d');
    await see('keys cut', 'peer', '--yes');
    expect(await run(['revoke', '--delegate', String(delegation), '--yes'])).toEqual({
      ok: true,
      delegation,
    });
    await see('rename', 'peer', 'other-peer');
    await see('allow', 'other-peer', 'orders:read');
    await see('can', 'other-peer', 'orders:read');
    await see('deny', 'other-peer', 'orders:read');
    await see('complete', 'bash');
    await run(['rename', 'other-peer', 'peer']);
    expect(await see('revoke', 'peer', '--yes')).toMatchObject({ revoked: [{ friendlyName: 'peer' }] });
    await see('trust reset', '--yes');

    for (const [command, names] of Object.entries(seen)) {
      expect([command, names.toSorted()]).toEqual([command, documented.get(command)?.toSorted()]);
    }
  });

  it('are those of the README for a relay, which says where it listens', async () => {
    const relay = new Command(await createMachine(), [
      'relay',
      '--port',
      '0',
      '--bind',
      '127.0.0.1',
      '--json',
    ]);
    const port = Number(await relay.until(/listening on 127\.0\.0\.1:(\d+)/));
    await relay.until(/"ok":true/);
    relay.kill('SIGTERM');
    expect(await relay.ended).toBe(0);
    const { ok: _, ...rest } = relay.objects.find(({ ok }) => ok) ?? {};
    expect(rest).toEqual({ event: 'relay', address: '127.0.0.1', port });
    expect(Object.keys(rest)).toEqual(documented.get('relay'));
  });

  it('are in the README for every command', () => {
    expect([...documented.keys()]).toEqual([
      ...[
        'init',
        'whoami',
        'keys',
        'keys cut',
        'status',
        'list',
        'rename',
        'allow',
        'deny',
        'can',
        'rotate',
        'rotate finish',
        'rotate withdraw',
        'rotate accept',
        'rotate refuse',
        'revoke',
        'listen',
        'invite',
        'provision',
        'grant',
        'answer-key',
        'delegate',
        'tokens',
        'tokens cancel',
      ],
      ...[
        'doctor',
        'curl',
        'mcp',
        'complete',
        'proxy',
        'relay',
        'trust export',
        'trust add',
        'trust hand-over',
        'trust take-over',
        'trust reset',
        'config',
        'config relay',
        'config hosts',
      ],
    ]);
  });
});
