// multer brings no types; this is what the tests use of it.
declare module 'multer' {
  import type { RequestHandler } from 'express';

  interface Multer {
    any(): RequestHandler;
  }
  function multer(): Multer;
  export default multer;
}
