// Four instances on ports 3001 to 3004, and a load balancer on 3000 that sends each request to the next one.
import { fork } from 'node:child_process';
import { createServer, request } from 'node:http';

const ports = [3001, 3002, 3003, 3004];
const instances = ports.map((port) => fork('server.mjs', { env: { ...process.env, PORT: String(port) } }));
process.on('SIGTERM', () => {
  for (const instance of instances) instance.kill();
  process.exit();
});

const isUp = (port) =>
  fetch(`http://localhost:${port}/health`).then(
    () => true,
    () => new Promise((resolve) => setTimeout(resolve, 50)).then(() => isUp(port)),
  );
await Promise.all(ports.map(isUp));
// A new Redis does not know earlier requests, so every request is refused for the first 3 to 4 s.
await new Promise((resolve) => setTimeout(resolve, 6000));

let next = 0;
createServer((req, res) => {
  // Forward method, path and headers unchanged, including Host: they are signed.
  const { method, url, rawHeaders } = req;
  const port = ports[next++ % ports.length];
  const passedOn = request({ host: 'localhost', port, method, path: url, headers: rawHeaders }, (answer) => {
    res.writeHead(answer.statusCode, answer.rawHeaders);
    answer.pipe(res);
  });
  passedOn.on('error', () => res.writeHead(502).end());
  req.pipe(passedOn);
}).listen(3000, () => console.log('listening on port 3000'));
