// What happens when a connection comes and goes, in RivetKit's order: onBeforeConnect may refuse it, createConnState
// gives it a state, then it is among c.conns and onConnect runs; onDisconnect is the last that is heard of it.
const paramsOf = (params) => {
  const { paramsSchema } = definition;
  return paramsSchema === null ? params : checked(paramsSchema, params, 'connection params');
};

const admit = async (conn, origin) => {
  const { hooks, options } = definition, { params } = conn, before = contextOf(undefined, origin);
  if (hooks.onBeforeConnect) await within(options.onBeforeConnect, 'onBeforeConnect', hooks.onBeforeConnect(before, params));
  if (hooks.createConnState)
    connFacts.begin(conn, await within(options.createConnState, 'createConnState', hooks.createConnState(before, params)));
  else if (definition.connState !== undefined) connFacts.begin(conn, structuredCloneOf(definition.connState));
  mapSet(conns, conn.id, conn);
  try {
    if (hooks.onConnect) await within(options.onConnect, 'onConnect', hooks.onConnect(contextOf(conn, origin), conn));
  } catch (thrown) {
    drop(conn);
    throw thrown;
  }
};

const drop = (conn) => {
  connFacts.close(conn);
  mapDelete(conns, conn.id);
};

// Whatever its handler does, the connection is gone.
const dismiss = (conn) => {
  drop(conn);
  const { onDisconnect } = definition.hooks;
  return onDisconnect ? onDisconnect(contextOf(conn, NOWHERE), conn) : undefined;
};

// An HTTP call has a connection of its own while it is in work.
const throughConn = async (params, origin, work) => {
  const conn = httpConn(paramsOf(params), origin.auth);
  await admit(conn, origin);
  try {
    return await work(contextOf(conn, origin));
  } finally {
    try {
      await dismiss(conn);
    } catch (thrown) {
      logThrown('onDisconnect failed', thrown);
    }
  }
};

// Without hooks that would notice, it is made when the handler asks for it.
class CallContext {
  #params;
  #origin;
  #conn;
  constructor(params, origin) {
    this.#params = params;
    this.#origin = origin;
  }
  get conn() { return (this.#conn ??= httpConn(this.#params, this.#origin.auth)); }
  get request() { return this.#origin.request; }
  get caller() { return this.#origin.caller; }
  get auth() { return this.#origin.auth; }
}
setPrototypeOf(CallContext.prototype, c);
defineProperty(CallContext.prototype, 'constructor', { value: undefined });

const viaHttp = (params, origin, work) =>
  definition.connects ? throughConn(params, origin, work) : work(new CallContext(params, origin));

const canSubscribe = async (conn, name) => {
  const declared = mapGet(definition.events, name);
  if (declared === undefined || !declared.canSubscribe) return;
  const allowed = await declared.canSubscribe(contextOf(conn, NOWHERE));
  if (typeof allowed !== 'boolean') throw new PTypeError('canSubscribe must return true or false');
  if (!allowed) throw bridgeError('auth', 'forbidden', 'this connection may not subscribe to the event');
};
