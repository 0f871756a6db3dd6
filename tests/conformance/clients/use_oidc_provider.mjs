// A certified OpenID provider that lets anybody in under the name they give: node use_oidc_provider.mjs CALLBACK
// It prints its issuer. Who is called `NAME.GROUP` is in that group.
import { createServer } from "node:http";
import Provider from "oidc-provider";

const redirectUri = process.argv[2];
const server = createServer((request, response) => provider.callback()(request, response));
let provider;

server.listen(0, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  provider = new Provider(issuer, {
    clients: [
      { client_id: "airboss", client_secret: "s3cret", redirect_uris: [redirectUri], response_types: ["code"] },
      {
        client_id: "open",
        token_endpoint_auth_method: "none",
        redirect_uris: [redirectUri],
        response_types: ["code"],
      },
    ],
    claims: { openid: ["sub"], email: ["email", "email_verified"], groups: ["groups"] },
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, email: `${id}@example.com`, email_verified: true, groups: [id.split(".")[1]] }),
    }),
  });
  console.log(JSON.stringify({ issuer }));
});
