import { serve } from '../../../contract/servers/serve';
import { dispatch, fetchApps } from '../apps';

serve(dispatch(fetchApps()));
