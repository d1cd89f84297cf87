import { amesh } from '@authmesh/sdk';
import express from 'express';

const stock = new Map([['tea', 2]]);
const app = express();
app.use(amesh.verify());

app.delete('/stock/:item', async (req, res) => {
  const { item } = req.params;
  const left = (stock.get(item) ?? 0) - 1;
  if (left < 0) return void res.status(409).json({ error: 'out of stock' });
  stock.set(item, left);
  res.json({ left });
});

app.post('/stock/:item', async (req, res) => {
  stock.set(req.params.item, 10);
  await amesh.fetch('http://localhost:3000/arrivals', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ item: req.params.item }),
    answers: 'required',
  });
  res.sendStatus(204);
});

app.listen(3001, () => console.log('listening on port 3001'));
