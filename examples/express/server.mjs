import { amesh } from '@authmesh/sdk';
import express from 'express';

const app = express();
app.get('/health', (_req, res) => res.json({ ok: true })); // for everybody
app.use('/api', amesh.verify(), express.json());
app.post('/api/orders', (req, res) => {
  res.status(201).json({ item: req.body.item, from: req.authMesh.friendlyName });
});
app.listen(3000, () => console.log('listening on port 3000'));
