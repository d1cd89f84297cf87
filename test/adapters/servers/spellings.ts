import { verify } from '@authmesh/sdk/hono';
import { withAmesh } from '@authmesh/sdk/workers';
import { serve } from '../../contract/servers/serve';
import { spellingsApp, verifier } from './spellings-app';

const settings = { amesh: { verifier: () => verifier } };
export default serve(spellingsApp(verify(settings), (handler) => withAmesh(handler, settings)));
