// Copies the folder COPIED right before each nth thing that this process does to its files, to <COPIED>-0, <COPIED>-n and so on; n
// is in EVERY. That is what would be left if it were killed there. At its end it says how many such things there were.
import fs from 'node:fs';
import { atStep } from './steps.mjs';

const { COPIED, EVERY } = process.env;
const { cpSync, existsSync } = fs;

await atStep((number) => {
  if (number % Number(EVERY) !== 0 || !existsSync(COPIED)) return;
  cpSync(COPIED, `${COPIED}-${number}`, { recursive: true, preserveTimestamps: true });
});
