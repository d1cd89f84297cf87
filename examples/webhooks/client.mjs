// The sender.
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { amesh } from '@authmesh/sdk';

const event = JSON.stringify({ id: randomUUID(), type: 'order.paid' });

for (let attempt = 1; ; attempt++) {
  try {
    const response = await amesh.fetch('http://localhost:3000/hooks', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: event,
      answers: 'required', // only the receiver itself can say that it took the event
      redirect: 'error', // a receiver that moves is told about it by hand
    });
    if (response.ok) {
      console.log(`delivered at attempt ${attempt}`);
      break;
    }
    if (response.status < 500) throw new Error(`refused: ${response.status}`); // to try again would not help
  } catch (error) {
    if (!(error instanceof TypeError) || attempt === 5) throw error;
  }
  await sleep(2 ** attempt * 100);
}
