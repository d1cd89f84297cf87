import type { RequestListener } from 'node:http';
import { hasScope, verify as verifyExpress } from '@authmesh/sdk/express';
import type express from 'express';
import type { Request, RequestHandler } from 'express';
import multer from 'multer';
import {
  ALL_SCOPES,
  CONTROL,
  DELEGATES,
  formValues,
  hash,
  NO_DELEGATES,
  ONE_SCOPE,
  type Subject,
} from '../subject';

/** What multer makes of a file. */
interface Upload {
  readonly fieldname: string;
  readonly buffer: Uint8Array;
  readonly mimetype: string;
}

/** The contract's application in Express. */
export function expressApp(framework: typeof express, subject: Subject): RequestListener {
  const app = framework();
  const verify = verifyExpress({ amesh: subject }) as RequestHandler;
  app.use(CONTROL, framework.text({ type: '*/*' }), (request, response) => {
    response.send(subject.control(request.method, String(request.body)));
  });
  const requiring = (options: object) => verifyExpress({ amesh: subject, ...options }) as RequestHandler;
  app.use('/only', requiring(ONE_SCOPE), answer('only'));
  app.use('/lent', requiring(DELEGATES), answer('lent'));
  app.use('/kept', requiring(NO_DELEGATES), answer('kept'));
  app.use(verify);

  app.post('/read/json', framework.json(), ({ body }, response) => void response.json(body));
  app.post('/read/text', framework.text(), ({ body }, response) => void response.json(body));
  app.post(
    '/read/form',
    framework.urlencoded({ extended: false }),
    ({ body }, response) => void response.json(body),
  );
  app.post('/read/multipart', multer().any(), async (request, response) => {
    const { body, files } = request as Request & { files: Upload[] };
    const parts = files.map(
      ({ fieldname, buffer, mimetype }) =>
        [fieldname, new File([new Uint8Array(buffer)], 'name', { type: mimetype })] as [string, File],
    );
    response.json(await formValues([...Object.entries<string>(body), ...parts]));
  });
  app.post('/read/raw', framework.raw({ type: '*/*' }), async ({ body }, response) => {
    response.json(await hash(body instanceof Uint8Array ? body : new Uint8Array()));
  });
  app.use('/own', (_request, response) => void response.set('cache-control', 'public').end());

  const mounted = framework();
  mounted.use(framework.Router().use('/deep', answer('mounted')));
  app.use('/mounted', mounted);
  app.use('/scoped/one', requiring(ONE_SCOPE), answer('one'));
  app.use('/scoped/all', requiring(ALL_SCOPES), answer('all'));
  app.use('/scoped/asked', (request, response) => void response.json(hasScope(request, 'orders:read')));
  app.use('/twice', verify, verify, answer('twice'));
  app.use(answer('app'));
  return app as unknown as RequestListener;

  function answer(via: string): RequestHandler {
    return async (request, response) => {
      const bytes = Buffer.concat(await request.toArray());
      response.json(await subject.seen(via, request.authMesh, request.method, request.originalUrl, bytes));
    };
  }
}
