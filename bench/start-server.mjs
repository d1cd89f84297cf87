// A server of node:http, with amesh or without. It says where it listens, and after its first answer what CPU time it took, in ms.
import { createServer } from 'node:http';

const [dir] = process.argv.slice(2);
let protect = (_request, _response, next) => next();
if (dir !== undefined) {
  const { createAmesh } = await import('@authmesh/sdk');
  protect = createAmesh({ dir }).verify();
}
const server = createServer((request, response) =>
  protect(request, response, () => {
    response.end('ok');
    const { user, system } = process.cpuUsage();
    process.send({ cpuMs: (user + system) / 1000 });
  }),
);
server.listen(0, '127.0.0.1', () => process.send({ port: server.address().port }));
