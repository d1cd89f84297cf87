// A machine with a token that tells all it knows of itself: node witness.mjs serve | call
// Takes `fetch <url>` and `look` on stdin, and says `status …` and `seen …`.
import { execFileSync } from 'node:child_process';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';
import { inspect } from 'node:util';
import { amesh } from '@authmesh/sdk';

const say = (line: string) => process.stdout.write(`${line}\n`);

if (process.argv[2] === 'serve') {
  const verify = amesh.verify();
  const server = createServer((request, response) => verify(request, response, () => response.end('passed')));
  server.listen(0, '127.0.0.1', () => say(`port ${(server.address() as AddressInfo).port}`));
} else say('port 0');

createInterface({ input: process.stdin }).on('line', async (line) => {
  const [command, url = ''] = line.split(' ');
  if (command === 'fetch') {
    const outcome = await amesh.fetch(url).then(
      ({ status }) => String(status),
      (error) => JSON.stringify(inspect(error, { depth: 9, showHidden: true })),
    );
    say(`status ${outcome}`);
    return;
  }
  const child = execFileSync('/bin/sh', ['-c', 'env; cat /proc/self/environ /proc/self/cmdline'], {
    encoding: 'utf8',
  });
  const { title, argv, env, execArgv } = process;
  const known = inspect(amesh, { depth: 9, showHidden: true });
  say(
    `seen ${JSON.stringify({ title, argv, env, execArgv, child, known, report: process.report.getReport() })}`,
  );
});
