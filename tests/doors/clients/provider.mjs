// A real OpenID Connect provider for signing in at the doors, and tokens that the doors must refuse.
// Prints one line of JSON: its issuer, and tokens by name. Ends when its input ends.
import { createHmac, generateKeyPairSync, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { exportJWK, SignJWT } from 'jose';
import { Provider } from 'oidc-provider';

const port = Number(process.argv[2]);
const thumbprint = process.argv[3];
const issuer = `http://127.0.0.1:${port}`;
const audience = 'loda';

const pair = async (kind, options, alg) => {
  const { privateKey, publicKey } = generateKeyPairSync(kind, options);
  const kid = randomUUID();
  return { privateKey, publicKey, kid, alg, jwk: { ...(await exportJWK(privateKey)), kid, alg, use: 'sig' } };
};
const rsa = await pair('rsa', { modulusLength: 2048 }, 'RS256');
const ec = await pair('ec', { namedCurve: 'P-256' }, 'ES256');
const stranger = await pair('rsa', { modulusLength: 2048 }, 'RS256');

const groups = { analyst: ['staff', 'loda-analysts'], auditor: ['loda-auditors'], nobody: ['staff'] };
const resource = (aud) => ({ scope: 'read', audience: aud, accessTokenFormat: 'jwt', accessTokenTTL: 600, jwt: { sign: { alg: 'RS256' } } });
const provider = new Provider(issuer, {
  clients: Object.keys(groups).map((name) => ({
    client_id: name,
    client_secret: 'secret-of-a-test',
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
  })),
  jwks: { keys: [rsa.jwk, ec.jwk] },
  scopes: ['read'],
  extraTokenClaims: (_, token) => ({ groups: groups[token.clientId] }),
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_, indicator) => resource(indicator === 'urn:loda' ? audience : 'another'),
    },
  },
});
const server = createServer(provider.callback());
await new Promise((done) => server.listen(port, '127.0.0.1', done));

// Tokens from the token endpoint, as programs get them.
const asked = async (client, indicator = 'urn:loda') => {
  const body = new URLSearchParams({ grant_type: 'client_credentials', scope: 'read', resource: indicator });
  const authorization = 'Basic ' + Buffer.from(`${client}:secret-of-a-test`).toString('base64');
  const answer = await fetch(`${issuer}/token`, { method: 'POST', headers: { authorization }, body });
  const said = await answer.json();
  if (!said.access_token) throw new Error(JSON.stringify(said));
  return said.access_token;
};

const now = Math.floor(Date.now() / 1000);
const claims = { iss: issuer, aud: audience, sub: 'analyst', groups: groups.analyst, iat: now, exp: now + 600 };
const signed = (more, key = rsa, header = {}) =>
  new SignJWT({ ...claims, ...more }).setProtectedHeader({ alg: key.alg, kid: key.kid, ...header }).sign(key.privateKey);
const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const hmac = (secret, kid) => {
  const text = `${part({ alg: 'HS256', typ: 'JWT', kid })}.${part(claims)}`;
  return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
};
const { aud, exp, sub, ...rest } = claims;
const bare = (kept) => new SignJWT({ ...rest, ...kept }).setProtectedHeader({ alg: 'RS256', kid: rsa.kid }).sign(rsa.privateKey);

const good = {
  analyst: await asked('analyst'),
  auditor: await asked('auditor'),
  elliptic: await signed({}, ec),
};
const bound = await signed({ cnf: { 'x5t#S256': thumbprint } });
const bad = {
  'no group of ours': await asked('nobody'),
  'another audience': await asked('analyst', 'urn:another'),
  'alg none': `${part({ alg: 'none' })}.${part(claims)}.`,
  'alg none with a signature': `${part({ alg: 'none', kid: rsa.kid })}.${part(claims)}.${good.analyst.split('.')[2]}`,
  'the public key as a secret, PEM': hmac(rsa.publicKey.export({ type: 'spki', format: 'pem' }), rsa.kid),
  'the public key as a secret, DER': hmac(rsa.publicKey.export({ type: 'spki', format: 'der' }), rsa.kid),
  'the modulus as a secret': hmac(Buffer.from(rsa.jwk.n, 'base64url'), rsa.kid),
  'an algorithm that is not on the list': await signed({}, { ...rsa, alg: 'PS256' }),
  'a key of one kind for another': await signed({}, rsa, { kid: ec.kid }),
  'a key that nobody published': await signed({}, stranger),
  'a key that it brings along': await signed({}, stranger, { jwk: await exportJWK(stranger.publicKey) }),
  'a key from elsewhere': await signed({}, stranger, { jku: `${issuer}/jwks` }),
  'a head that must be understood': await signed({}, rsa, { crit: ['exp'], exp: now + 600 }).catch(() => 'e30.e30.e30'),
  'another issuer': await signed({ iss: 'http://127.0.0.1:1' }),
  'an issuer with a slash more': await signed({ iss: `${issuer}/` }),
  'expired': await signed({ iat: now - 4000, exp: now - 120 }),
  'of the future': await signed({ iat: now + 4000, nbf: now + 4000, exp: now + 8000 }),
  'not yet': await signed({ nbf: now + 600 }),
  'for a year': await signed({ exp: now + 365 * 86400 }),
  'without an end': await bare({ aud, sub }),
  'without an audience': await bare({ exp, sub }),
  'of nobody': await bare({ aud, exp }),
  'changed on its way': good.analyst.replace(/\.[^.]*\./, `.${part({ ...claims, groups: groups.auditor })}.`),
  'without its signature': good.analyst.replace(/\.[^.]*$/, '.'),
  'bound to another certificate': bound,
  'bound to a key': await signed({ cnf: { jkt: 'abc' } }),
};
console.log(JSON.stringify({ issuer, good, bound, bad }));
process.stdin.on('end', () => process.exit(0)).resume();
