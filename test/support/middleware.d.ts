// These bring no types; this is what the tests use of them.
declare module 'compression' {
  import type { RequestHandler } from 'express';
  export default function compression(options?: { threshold?: number }): RequestHandler;
}
declare module 'express-session' {
  import type { RequestHandler } from 'express';
  export default function session(options: object): RequestHandler;
}
declare module 'morgan' {
  import type { RequestHandler } from 'express';
  export default function morgan(
    format: string,
    options: { stream: { write(line: string): void } },
  ): RequestHandler;
}
declare module 'cors' {
  import type { RequestHandler } from 'express';
  export default function cors(options?: object): RequestHandler;
}
declare module 'connect' {
  import type { RequestListener } from 'node:http';
  export default function connect(): RequestListener & { use(handler: unknown): void };
}
