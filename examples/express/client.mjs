import { amesh } from '@authmesh/sdk';

const response = await amesh.fetch('http://localhost:3000/api/orders', {
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify({ item: 'tea' }),
  answers: 'required',
});
console.log(response.status, await response.json());
