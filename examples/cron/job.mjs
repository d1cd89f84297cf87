import { readdir } from 'node:fs/promises';
import { amesh } from '@authmesh/sdk';

const files = await readdir(new URL('.', import.meta.url));
const response = await amesh.fetch('http://localhost:3000/reports/nightly', {
  method: 'PUT',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify({ files: files.length }),
  answers: 'required', // a job nobody watches should believe only its server
  signal: AbortSignal.timeout(10_000), // the clock will not wait for a server that hangs
});
if (!response.ok) {
  // cron mails this output.
  console.error(`The report was refused: ${response.status}`);
  process.exitCode = 1;
} else {
  console.log('reported');
}
