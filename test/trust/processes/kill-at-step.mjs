// Kills its process right before the nth thing that it does to its files, or before or after it has sent a script to Redis; n is
// in KILL_AT. A process that lives to its end says how many there were.
import { Socket } from 'node:net';
import { atStep } from './steps.mjs';

const AT = Number(process.env.KILL_AT);
const kill = () => process.kill(process.pid, 'SIGKILL');

const step = await atStep((number) => {
  if (number >= AT) kill();
});
const { write } = Socket.prototype;
Socket.prototype.write = function (data, ...more) {
  if (!/^\*\d+\r\n\$\d+\r\neval/i.test(String(data).slice(0, 40))) return write.call(this, data, ...more);
  step();
  // Or Redis carries it out, and nobody hears that.
  return step((number) => write.call(this, data, ...(number < AT ? more : [kill])));
};
