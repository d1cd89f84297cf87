import { createAmesh } from '@authmesh/sdk';

// Sends a request again and again, and says how often each answer came. Args: a URL, how often, and the folder of an
// identity or, for the bare fetch, the headers as JSON.
const [url = '', count = '', dir = '', headers = '{}'] = process.argv.slice(2);
const send = dir === '' ? fetch : createAmesh({ dir, env: {} }).fetch;
const answers: Record<string, number> = {};
for (let i = 0; i < Number(count); i++) {
  const answer = await send(url, { method: 'POST', body: 'x', headers: JSON.parse(headers) }).then(
    async (response) => {
      await response.text();
      return String(response.status);
    },
    (error) => String(error.cause?.code ?? error),
  );
  answers[answer] = (answers[answer] ?? 0) + 1;
}
console.log(`done ${JSON.stringify(answers)}`);
