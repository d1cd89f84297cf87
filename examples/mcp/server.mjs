import { amesh } from '@authmesh/sdk';
import { createApp } from './app.mjs';

createApp(amesh).listen(3000, () => console.log('listening on port 3000'));
