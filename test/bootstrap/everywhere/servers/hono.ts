import { serve } from '../../../contract/servers/serve';
import { dispatch, honoApps } from '../apps';

serve(dispatch(honoApps()));
