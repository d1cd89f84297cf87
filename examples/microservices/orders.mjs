import { amesh } from '@authmesh/sdk';
import express from 'express';

const app = express();
app.use(amesh.verify(), express.json());

app.post('/orders', async (req, res) => {
  const { item } = req.body;
  const answer = await amesh.fetch(`http://localhost:3001/stock/${encodeURIComponent(item)}`, {
    method: 'DELETE',
    answers: 'required',
  });
  if (!answer.ok) return void res.status(502).json({ error: 'the stock did not answer' });
  const { left } = await answer.json();
  res.status(201).json({ item, left, for: req.authMesh.friendlyName });
});

// Trust has a direction: the stock may call orders because of a separate pairing.
app.post('/arrivals', (req, res) => {
  console.log(`${req.authMesh.friendlyName} has ${req.body.item} again`);
  res.sendStatus(204);
});

app.listen(3000, () => console.log('listening on port 3000'));
