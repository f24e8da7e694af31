// The context `c` of an actor. What belongs to one event (its connection, its request) is put before it.
let vars, stopping = false, stopSignal = null;
const identity = { actorId: '', name: '', key: freeze([]) };

// There is one place here; RivetKit calls its first one so.
const REGION = 'default';

const c = {
  get state() { return trackedState(); },
  set state(value) { setState(value); },
  get vars() { return vars; },
  set vars(value) { vars = value; },
  get actorId() { return identity.actorId; },
  get name() { return identity.name; },
  get key() { return identity.key; },
  get conns() { return connections; },
  get conn() { return undefined; },
  get request() { return undefined; },
  get caller() { return undefined; },
  get auth() { return undefined; },
  get abortSignal() {
    if (stopSignal === null) {
      stopSignal = new AbortController().signal;
      if (stopping) abortSignal(stopSignal);
    }
    return stopSignal;
  },
  get aborted() { return stopping; },
  get region() { return REGION; },
  // Of older actors of RivetKit: there, too, they do nothing any more.
  get preventSleep() { return false; },
  setPreventSleep() {},
  get queue() { throw notAvailable('c.queue'); },
  get db() { throw notAvailable('c.db'); },
  get run() { throw notAvailable('c.run'); },
  actorRuntimeSocket() { throw notAvailable('c.actorRuntimeSocket()'); },
  kv, schedule, cron, alarms, log,
  broadcast(name, ...args) { broadcast(name, args); },
  random() { return random(); },
  sleep() { call('{"call":"sleep"}'); },
  destroy() { call('{"call":"destroy"}'); },
  keepAwake(promise) {
    needTurn();
    holdAwake(promise);
    return promise;
  },
  waitUntil(promise) {
    needTurn();
    holdStop(promise);
  },
  client() { return client; },
  async saveState(options) {
    needTurn();
    saveState();
    // A later turn begins when this one is on disk.
    if (isObject(options) && options.immediate) await nextTurn();
  },
};
freeze(c);

// Where an event comes from: the HTTP request behind it, or the actor that called (the host knows which), and what the
// auth hook made of the client.
const NOWHERE = { __proto__: null, request: undefined, caller: undefined, auth: undefined };

const fromRequest = (request, auth) => ({ __proto__: null, request, caller: undefined, auth });

const fromCaller = (ev) =>
  hasOwn(ev, 'caller')
    ? { __proto__: null, request: undefined, caller: freeze({ actorId: ev.caller, name: ev.caller_name }), auth: undefined }
    : hasOwn(ev, 'auth') ? fromRequest(undefined, authOf(ev)) : NOWHERE;

const contextOf = (conn, { request, caller, auth }) =>
  ({ __proto__: c, conn, request, caller, auth: conn === undefined ? auth : connFacts.auth(conn) });

const beginStop = () => {
  stopping = true;
  if (stopSignal !== null) abortSignal(stopSignal);
};
