import { withAmesh } from '@authmesh/sdk/workers';

export { AmeshNonces } from '@authmesh/sdk/workers';

export default withAmesh({
  async fetch(request) {
    const { item } = await request.json();
    return Response.json({ item, from: request.authMesh.friendlyName }, { status: 201 });
  },
});
