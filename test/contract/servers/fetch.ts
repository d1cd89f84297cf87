import { fetchApp } from '../apps/fetch';
import { Subject } from '../subject';
import { serve } from './serve';

export default serve(fetchApp(new Subject()));
