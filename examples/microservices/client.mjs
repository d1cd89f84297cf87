import { amesh } from '@authmesh/sdk';

const response = await amesh.fetch('http://localhost:3000/orders', {
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify({ item: 'tea' }),
  answers: 'required',
});
console.log(response.status, await response.json());

// The shop may only call orders: the stock does not know it, and so proves nothing to it.
const refused = await amesh.fetch('http://localhost:3001/stock/tea', { method: 'POST' });
console.log(refused.status, await refused.json());
