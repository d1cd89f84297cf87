import { describe, expect, it } from 'vitest';
import { durationText } from '../../src/cli/src/words/duration';
import { useMachines } from './amesh';

const createMachine = useMachines();

describe('a flag that takes a duration', () => {
  it.each([
    ['provision --name x', '--ttl', '1s to 24h', ['0s', '25h', '1441m', '86401s', '2d']],
    ['grant --name x', '--ttl', '1s to 24h', ['0s', '25h', '2d']],
    ['grant --name x', '--lease', '1m to 365d', ['59s', '366d']],
    ['grant --name x --lease 1m', '--max-lease', '1m to 365d', ['59s', '366d']],
    ['answer-key', '--for', '1m to 90d', ['59s', '91d']],
    ['delegate --name x --scope a --target b', '--for', '1m to 24h', ['59s', '25h', '2d']],
    ['allow nobody', '--expires', '1s to 3650d', ['0s', '3651d', '2027-01-01']],
    ['list', '--expires', '1s to 3650d', ['0s', '3651d', 'never']],
    // Servers write down when a device called only once a minute, and later in a long list.
    ['list', '--unused', '1h to 3650d', ['59m', '3599s', '3651d']],
    ['revoke', '--unused', '1h to 3650d', ['59m', '3599s', '3651d']],
  ])('amesh %s %s names the same range in its help and in its errors', async (line, flag, range, outside) => {
    const machine = await createMachine();
    const [command = ''] = line.split(' ');
    const help = (await machine.amesh([command, '--help'])).stdout.replace(/\s+/g, ' ');
    const about = help.slice(help.indexOf(` ${flag} <`));
    expect(about.slice(0, about.indexOf(' --', 2))).toContain(range);
    for (const text of [
      '',
      '1',
      'h',
      '24',
      '1.5h',
      '-1h',
      '1w',
      '1 h',
      '1H',
      '1h30m',
      '999999999d',
      ...outside,
    ]) {
      const { code, stderr } = await machine.amesh([...line.split(' '), `${flag}=${text}`]);
      expect(code, text).toBe(2);
      if (text !== '') expect(stderr, text).toContain(`${flag} must be a duration from ${range}.`);
      expect(stderr, text).toContain('No changes were made.');
    }
  });
});

it('a duration is written in the form in which it is typed: a day as 24h, as in the docs', () => {
  const day = 86_400;
  expect([1, 90, 60, 3600, day, 2 * day, 1.5 * day, 30 * day, 0.5 * day, day + 1].map(durationText)).toEqual([
    ...['1s', '90s', '1m', '1h', '24h', '2d', '36h', '30d', '12h', '86401s'],
  ]);
});
