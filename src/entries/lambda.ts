export { asSent } from '../adapters/lambda/as-sent';
