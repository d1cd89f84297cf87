import { amesh } from '@authmesh/sdk';
import express from 'express';

const app = express();
app.use(amesh.verify(), express.json());
app.put('/reports/:name', (req, res) => {
  console.log(`${req.params.name} of ${req.authMesh.friendlyName}: ${req.body.files} files`);
  res.sendStatus(204);
});
app.listen(3000, () => console.log('listening on port 3000'));
