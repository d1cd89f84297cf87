// Stops its process once, at the worst moment: the list was compared, and the next thing is to move the new one there.
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

const { renameSync } = fs;
let hasStopped = false;
fs.renameSync = (from, to) => {
  if (!hasStopped && String(to).endsWith('/allow_list.json')) {
    hasStopped = true;
    fs.writeSync(1, 'stopped\n');
    process.kill(process.pid, 'SIGSTOP');
  }
  renameSync(from, to);
};
syncBuiltinESMExports();
