import { describeContract } from './contract';
import { kinds } from './kinds';

await describeContract(kinds.fetchDeno);
