import { withAmesh } from '@authmesh/sdk/workers';
import { H3, serve } from 'h3';
import { fetchApp } from './apps/fetch';
import { describeContract } from './contract';
import { Subject } from './subject';

await describeContract({
  name: 'h3',
  column: 'h3 on Node',
  runtime: 'node',
  removesDotSegments: true,
  isLikeAnother: true,
  async start() {
    const subject = new Subject();
    const handle = fetchApp(subject, (handler, options) =>
      withAmesh(handler, { amesh: subject, ...options }),
    );
    const app = new H3();
    app.all('/**', (event) => handle(event.req));
    const server = serve(app, { port: 0, hostname: '127.0.0.1', silent: true });
    await server.ready();
    return { port: Number(new URL(server.url as string).port), close: () => server.close(true) };
  },
});
