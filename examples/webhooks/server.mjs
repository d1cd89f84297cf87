// The receiver.
import { amesh } from '@authmesh/sdk';
import express from 'express';

const seen = new Set();
const app = express();
app.post('/hooks', amesh.verify(), express.json(), (req, res) => {
  // A webhook that is repeated after a lost response has a new signature: recognise it by its own ID.
  const { id, type } = req.body;
  if (!seen.has(id)) console.log(`${type} from ${req.authMesh.friendlyName}`);
  seen.add(id);
  res.sendStatus(204);
});
app.listen(3000, () => console.log('listening on port 3000'));
