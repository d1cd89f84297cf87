import { createServer } from 'node:http';
import { amesh } from '@authmesh/sdk';

// REDIS_URL, AMESH_STORE_URL and AMESH_OWNER_KEY are enough; there is no private key here.
const verify = amesh.verify();

createServer((req, res) => {
  if (req.url === '/health') return void res.end();
  verify(req, res, () =>
    res.end(JSON.stringify({ instance: process.pid, caller: req.authMesh.friendlyName })),
  );
}).listen(process.env.PORT);
