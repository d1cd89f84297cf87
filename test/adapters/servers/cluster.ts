// A server behind verify() with a number of workers that share its port, or without any: node cluster.mjs <dir> <workers>
// Says `port N` or `alone N`, when it listens, and answers with the ID of the process.
import cluster from 'node:cluster';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createAmesh } from '@authmesh/sdk';

const [dir = '', workers = '0'] = process.argv.slice(2);

if (cluster.isPrimary && workers !== '0') {
  let ready = 0;
  for (let number = 0; number < Number(workers); number++)
    cluster.fork().on('message', (port: number) => {
      if (++ready === Number(workers)) process.stdout.write(`port ${port}\n`);
    });
} else {
  const verify = createAmesh({ dir }).verify();
  const server = createServer((request, response) =>
    verify(request, response, () => response.end(String(process.pid))),
  );
  server.listen(0, '127.0.0.1', () => {
    const { port } = server.address() as AddressInfo;
    if (cluster.isWorker) process.send?.(port);
    else process.stdout.write(`alone ${port}\n`);
  });
}
