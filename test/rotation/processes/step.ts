import { createAmesh } from '@authmesh/sdk';
import { acceptSuccessor, openDevice, rotateKey } from '@authmesh/sdk/admin';

/** One part of a rotation, in a process of its own that may be killed. */
const [what = '', text = ''] = process.argv.slice(2);
const { AUTH_MESH_DIR: dir = '', AMESH_STORE_URL } = process.env;
const env = { AMESH_STORE_URL };

async function run(): Promise<unknown> {
  switch (what) {
    case 'rotate':
      return rotateKey(dir, env, { haveInstancesBoth: async () => true });
    case 'accept': {
      const { trust } = await openDevice(dir, env);
      return trust.update((draft) => acceptSuccessor(draft, text, Math.floor(Date.now() / 1000)));
    }
    case 'target': {
      const amesh = createAmesh({ dir, env, acceptRotation: 'auto', onRefusal() {} });
      const verifier = amesh.verifier({ authority: 'api.example.com' });
      type Answer = { ok: boolean; code?: string; headers?: Record<string, string> };
      const verify = async (): Promise<Answer> => {
        const verdict = (await verifier.verify(JSON.parse(text))) as Answer;
        if (verdict.code !== 'allow_list_unavailable') return verdict;
        await new Promise((resolve) => setTimeout(resolve, 50)); // Redis has not answered yet
        return verify();
      };
      const { ok, headers } = await verify();
      if (!ok || headers?.['authmesh-rotation'] !== 'accepted') throw new Error('The target did not accept.');
      return undefined;
    }
    case 'caller': {
      const amesh = createAmesh({ dir, env });
      const send = async (): Promise<Response> =>
        amesh.fetch(text).catch(async (error) => {
          if (error.code !== 'allow_list_unavailable') throw error;
          await new Promise((resolve) => setTimeout(resolve, 50)); // Redis has not answered yet
          return send();
        });
      await (await send()).text();
      // What the target has answered is written behind the response.
      return new Promise((resolve) => setTimeout(resolve, 300));
    }
    default:
      throw new Error(`There is no part "${what}".`);
  }
}

await run();
process.exit(0);
