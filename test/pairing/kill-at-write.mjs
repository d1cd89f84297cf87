// Kills its process at the nth commit of its allow list: right before it, or right after. KILL is "before 1", say.
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

const [when, count] = process.env.KILL.split(' ');
let left = Number(count);
const { renameSync } = fs;
fs.renameSync = (from, to) => {
  const isIt = String(to).endsWith('/allow_list.json') && --left === 0;
  if (isIt && when === 'before') process.kill(process.pid, 'SIGKILL');
  renameSync(from, to);
  if (isIt) process.kill(process.pid, 'SIGKILL');
};
syncBuiltinESMExports();
