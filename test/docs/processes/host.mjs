// Runs the programs of the documents one after another in one process. Each has its own environment, folder, output and
// modules of @authmesh.
import { register } from 'node:module';
import { Server } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { inspect } from 'node:util';

const DISPATCHER = Symbol.for('undici.globalDispatcher.1');

register('./own-modules.mjs', import.meta.url);
process.setMaxListeners(0);
for (const stream of [process.stdout, process.stderr]) {
  stream.write = (chunk, encoding, done = encoding) => {
    process.send({ output: String(chunk) });
    if (typeof done === 'function') queueMicrotask(done);
    return true;
  };
}

/** What a program has opened, and leaves open if it is a server. */
const open = new Set();
const { listen } = Server.prototype;
Server.prototype.listen = function (...args) {
  open.add(this);
  this.on('connection', (socket) => {
    open.add(socket);
    socket.on('close', () => open.delete(socket));
  });
  return listen.apply(this, args);
};

await fetch('data:,'); // so that its dispatcher is there
void process.stdin; // opened by the first who looks at it, as got does, and open from then on
const { constructor: Agent } = globalThis[DISPATCHER];
let programs = 0;
const atRest = countResources();

process.on('message', async ({ path, folder, env, isServer }) => {
  await closeAll();
  if (path === undefined) return process.send({ code: 0 });
  for (const name of Object.keys(process.env)) delete process.env[name];
  Object.assign(process.env, env);
  process.chdir(folder);
  let code = 0;
  try {
    await import(`${pathToFileURL(path)}?program=${programs++}`);
    // A program of its own would end when there is nothing left to do.
    while (!isServer && countResources() > atRest) await sleep(5, undefined, { ref: false });
  } catch (error) {
    process.stderr.write(`${inspect(error)}\n`);
    code = 1;
  }
  process.send({ code });
});
process.send({ isReady: true });

/** A page's next program finds the ports free, and no connections to servers that are gone. */
async function closeAll() {
  globalThis[DISPATCHER].destroy();
  globalThis[DISPATCHER] = new Agent();
  await Promise.all(
    [...open].map((each) => {
      open.delete(each);
      return each instanceof Server
        ? new Promise((resolve) => void (each.listening ? each.close(resolve) : resolve()))
        : each.destroy();
    }),
  );
}

function countResources() {
  return process.getActiveResourcesInfo().length;
}
