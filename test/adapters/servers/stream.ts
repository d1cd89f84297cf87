import { withAmesh } from '@authmesh/sdk/workers';
import { serve } from '../../contract/servers/serve';
import { streamApp, verifier } from './stream-app';

export default serve(streamApp((handler) => withAmesh(handler, { amesh: { verifier: () => verifier } })));
