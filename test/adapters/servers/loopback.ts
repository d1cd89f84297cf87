import { verify } from '@authmesh/sdk/hono';
import { withAmesh } from '@authmesh/sdk/workers';
import { serve } from '../../contract/servers/serve';
import { loopbackApp, verifier } from './loopback-app';

const settings = { amesh: { verifier: () => verifier } };
export default serve(loopbackApp(verify(settings), (handler) => withAmesh(handler, settings)));
