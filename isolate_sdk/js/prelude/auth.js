// The auth hook: it is asked about a client before anything of the client's is delivered, and what it returns comes with
// that, as `auth` of the context and of the socket. The host keeps it: it is the same after a wake.
const askedAbout = (ev) => freeze({
  kind: ev.kind,
  role: ev.role,
  name: ev.name,
  method: ev.method,
  path: ev.path,
  url: hasOwn(ev, 'path') ? `http://actor${ev.path}` : undefined,
  headers: headersFrom(ev.headers),
  params: hasOwn(ev, 'params') ? native.revive(ev.params, 0) : undefined,
  claims: hasOwn(ev, 'claims') ? native.revive(ev.claims, 0) : undefined,
});

const authOf = (given) => (hasOwn(given, 'auth') ? native.revive(given.auth, 0) : undefined);

const ask = (ev) => {
  const { auth } = definition.hooks;
  return auth ? auth(c, askedAbout(ev)) : undefined;
};
