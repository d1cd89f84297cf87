import { serve } from '../../contract/servers/serve';
import { fetchApp } from './web-fetch-app';

export default serve(fetchApp());
