import { expect, it } from 'vitest';
import { expectNone, processTable, secretsOf } from '../support/leaks';
import { useMachines } from './amesh';

const newMachine = useMachines();

it.skipIf(process.platform !== 'linux')(
  'a token shows nowhere but on stdout of the command that makes it',
  async () => {
    const machine = await newMachine();
    await machine.init('api');
    const shown: string[] = [];
    const tokens: string[] = [];
    for (const args of [
      ['provision', '--name', 'prod-server'],
      ['grant', '--name', 'worker-*'],
    ]) {
      const ran = await machine.amesh(args, { env: { DEBUG: 'amesh' } });
      expect(ran.code).toBe(0);
      tokens.push(ran.stdout.trim());
      shown.push(ran.stderr);
    }
    const document = await machine.allowList();
    const ids = [...document.tokens, ...document.grants].map(({ id }) => id);
    for (const args of [
      ['list', '--json'],
      ['tokens', '--json'],
      ['tokens'],
      ['list'],
      ...ids.map((id) => ['tokens', 'cancel', id, '--json']),
      ...ids.map((id) => ['revoke', '--grant', id, '--json', '--yes']),
    ]) {
      const { stdout, stderr } = await machine.amesh(args, {
        env: { DEBUG: 'amesh', AMESH_BOOTSTRAP_TOKEN: tokens[0] as string },
      });
      shown.push(stdout, stderr);
    }
    expect(shown.join('\n')).toContain(ids[0]);
    shown.push(await processTable());
    for (const token of tokens) expectNone(shown.join('\n'), await secretsOf(token));
  },
  300_000,
);
