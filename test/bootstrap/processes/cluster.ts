// A cluster whose workers all share one port: node cluster.mjs <dir> <workers>
// Says `port N` when all of them listen, and what each worker finds itself to be.
import cluster from 'node:cluster';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createAmesh } from '@authmesh/sdk';

const [dir = '', workers = '1'] = process.argv.slice(2);

if (cluster.isPrimary) {
  let ready = 0;
  for (let number = 0; number < Number(workers); number++) {
    const worker = cluster.fork();
    worker.on('message', ({ port, line }: { port: number; line: string }) => {
      process.stdout.write(`${line}\n`);
      if (++ready === Number(workers)) process.stdout.write(`port ${port}\n`);
    });
    worker.on('exit', (code) => code !== 0 && process.stdout.write(`worker ended with ${code}\n`));
  }
  process.stdin.resume().on('end', () => {
    for (const worker of Object.values(cluster.workers ?? {})) worker?.kill();
  });
} else {
  const amesh = createAmesh({ dir });
  const verify = amesh.verify();
  const server = createServer((request, response) =>
    verify(request, response, () => response.end(`passed ${process.pid}`)),
  );
  server.listen(0, '127.0.0.1', async () => {
    const { port } = server.address() as AddressInfo;
    let line: string;
    try {
      await amesh.bootstrapIfNeeded();
      const left = process.env.AMESH_BOOTSTRAP_TOKEN === undefined ? 'gone' : 'left';
      line = `worker ${(await amesh.identity()).deviceId} ${left}`;
    } catch (error) {
      line = `failed ${error}`;
    }
    process.send?.({ port, line });
  });
}
