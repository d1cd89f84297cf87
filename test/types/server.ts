// Servers as their owners write them. Nothing here runs: it has to compile, with the types of Express 4 and of 5.
import { createServer, type IncomingMessage } from 'node:http';
import { createServer as createHttp2Server, type Http2ServerRequest } from 'node:http2';
import {
  type Authenticated,
  type AuthMeshIdentity,
  amesh,
  createAmesh,
  InMemoryNonceStore,
  isAmeshError,
  type Refusal,
} from '@authmesh/sdk';
import { rawBody, verify } from '@authmesh/sdk/express';
import express, {
  type NextFunction,
  type Request,
  type RequestHandler,
  type Response,
  Router,
} from 'express';

// The README's
const app = express();
app.use(express.text({ type: '*/*' }));
app.use('/api', amesh.verify());
app.post('/api/orders', (req, res) => {
  res.json({ device: req.authMesh.deviceId, name: req.authMesh.friendlyName });
});
app.listen(3000);

// Every place a middleware can stand in
const router = Router();
router.use(verify());
router.use('/v1', express.json({ verify: rawBody }), amesh.verify({ maxBodyBytes: 5_000_000 }));
router.all('/all', amesh.verify(), (_req, res) => void res.end());
router.route('/route').post(amesh.verify(), (req, res) => void res.send(req.authMesh.friendlyName));
app.get(
  '/orders/:id',
  amesh.verify(),
  (req, res) => void res.json({ id: req.params.id, by: req.authMesh.deviceId }),
);
app.use([express.urlencoded({ extended: true, verify: amesh.rawBody }), amesh.verify()]);
app.use('/sub', router);
const kept: RequestHandler = amesh.verify();
app.use(kept);

// Handlers that name their types
function handler(req: Request<{ id: string }>, res: Response, next: NextFunction): void {
  const caller: AuthMeshIdentity = req.authMesh;
  if (caller.verifiedAt > 0) res.json({ id: req.params.id, caller });
  else next();
}
app.get('/named/:id', amesh.verify(), handler);

// All options
amesh.verify({
  clockSkewSeconds: 30,
  nonceWindowSeconds: 60,
  nonceStore: new InMemoryNonceStore({ capacity: 1000 }),
  maxBodyBytes: 1_048_576,
  hosts: ['api.example.com'],
  pathPrefix: '/v1',
  trustForwardedHost: true,
  onRefusal: ({ code, status, detail, fix, request }: Refusal) => {
    const known: boolean = code === 'invalid_signature';
    console.error(known, status, detail, fix, request.target, request.deviceId?.length);
  },
});
amesh.verify({ authority: 'api.example.com' });
createAmesh({ dir: '/srv/amesh', env: process.env }).verify({ nonceStore: { claim: async () => true } });

// Without Express
const middleware = amesh.verify();
createServer((req, res) => {
  middleware(req, res, () => {
    res.end((req as Authenticated<IncomingMessage>).authMesh.deviceId);
  });
});
createHttp2Server((req, res) => {
  middleware(req, res, (error) => {
    if (isAmeshError(error)) console.error(error.code);
    res.end((req as Authenticated<Http2ServerRequest>).authMesh.deviceId);
  });
});

// What must not compile
// @ts-expect-error a misspelt option
amesh.verify({ clockSkew: 5 });
// @ts-expect-error no nonce store
amesh.verify({ nonceStore: {} });
// @ts-expect-error hosts is a list
amesh.verify({ hosts: 'api.example.com' });
app.get('/wrong', amesh.verify(), (req, res) => {
  // @ts-expect-error there is no such fact
  res.json(req.authMesh.name);
  // @ts-expect-error what was verified does not change
  req.authMesh.deviceId = 'am_';
});
