import { setTimeout as sleep } from 'node:timers/promises';
import { createAmesh } from '@authmesh/sdk';

let recorded;
const amesh = createAmesh({
  fetch: (input, init) => {
    recorded = init; // as somebody on the way would
    return fetch(input, init);
  },
});

// Like any client of a busy service.
async function call() {
  for (let attempt = 1; ; attempt++) {
    const answer = await amesh.fetch('http://localhost:3000/');
    if (answer.status !== 503 || attempt === 5) return answer;
    await sleep(500);
  }
}

const answers = [];
for (let i = 0; i < 8; i++) answers.push(await call());
if (answers.some(({ ok }) => !ok)) {
  console.log('refused:', answers[0].status);
} else {
  const instances = await Promise.all(answers.map(async (answer) => (await answer.json()).instance));
  console.log(`8 requests, answered by ${new Set(instances).size} instances`);
  const again = await Promise.all([1, 2, 3, 4].map(() => fetch('http://localhost:3000/', recorded)));
  console.log(`the last one again, to each of them: ${again.map(({ status }) => status).join(' ')}`);
}
