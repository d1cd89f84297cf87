import { createInterface } from 'node:readline';
import { createAmesh } from '@authmesh/sdk';

/** What a line of stdin asks for, as JSON. */
export interface Calls {
  readonly url: string;
  readonly count: number;
  /** The folder of an identity; default: the bare fetch. */
  readonly dir?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

// Sends each request that stdin names again and again, and says how often each answer came.
let asked = 0;
for await (const line of createInterface({ input: process.stdin })) {
  const { url, count, dir, headers = {} }: Calls = JSON.parse(line);
  const send = dir === undefined ? fetch : createAmesh({ dir, env: {} }).fetch;
  const answers: Record<string, number> = {};
  for (let i = 0; i < count; i++) {
    const answer = await send(url, { method: 'POST', body: 'x', headers }).then(
      async (response) => {
        await response.text();
        return String(response.status);
      },
      (error) => String(error.cause?.code ?? error),
    );
    answers[answer] = (answers[answer] ?? 0) + 1;
  }
  console.log(`done ${asked++} ${JSON.stringify(answers)}`);
}
