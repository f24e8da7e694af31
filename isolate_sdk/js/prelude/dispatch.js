// Turns: events go in, settled events come out. An event is settled when its handler has returned and the promise it
// returned is settled; the reply is built as text, so that nothing the tenant changed can get into it.
let pending = 0;
let settled = null;  // what this turn has settled, the last one first
// What was in work when the state was put back has lost its changes, and must not succeed in a later turn.
let putBacks = 0, lost = null;

const settle = (id, body, begun) => {
  pending--;
  settled = { id, body: begun === putBacks ? body : lost, before: settled };
};

const settleError = (id, thrown, begun) => settle(id, `"error":${errorJson(thrown)}`, begun);

// `write` gives the JSON of a result, or '' for none.
const settleResult = (id, value, write, begun) => {
  let text;
  try {
    text = write(value);
  } catch (thrown) {
    settleError(id, thrown, begun);
    return;
  }
  settle(id, text === '' ? '' : `"result":${text}`, begun);
};

const settleLater = async (id, promise, write, begun) => {
  let value;
  try {
    value = await promise;
  } catch (thrown) {
    settleError(id, thrown, begun);
    return;
  }
  settleResult(id, value, write, begun);
};

const isPromiseLike = (value) => isObject(value) && typeof value.then === 'function';

const run = (id, handler, write) => {
  pending++;
  const begun = putBacks;
  let value, later;
  try {
    value = handler();
    later = isPromiseLike(value);
  } catch (thrown) {
    settleError(id, thrown, begun);
    return;
  }
  if (later) settleLater(id, value, write, begun);
  else settleResult(id, value, write, begun);
};

const nothing = () => '';
const valueJson = (value) => (value === undefined ? '' : native.value(value, 0));

// Waits for what listeners returned; the first failure is the event's, further ones are logged.
const awaitAll = async (results, failure) => {
  for (let i = 0; i < results.length; i++) {
    try {
      await results[i];
    } catch (thrown) {
      failure.note(thrown);
    }
  }
  failure.raise();
};

const newFailure = () => {
  let failed = false, first;
  return {
    note(thrown) {
      if (failed) logThrown('another listener failed too', thrown);
      else first = thrown;
      failed = true;
    },
    raise() {
      if (failed) throw first;
    },
  };
};

const afterListeners = (results, failure) => {
  for (let i = 0; i < results.length; i++) if (isPromiseLike(results[i])) return awaitAll(results, failure);
  failure.raise();
};

// The context of an action that another actor called says which one: the host knows it, so nobody can pretend.
const contextOf = (ev) => {
  if (!hasOwn(ev, 'caller')) return c;
  const caller = freeze({ actorId: ev.caller, name: ev.caller_name });
  return freeze(createObject(c, { caller: { value: caller, enumerable: true } }));
};

const runAction = (name, args, context = c) => {
  const action = mapGet(definition.actions, name);
  if (!action) throw bridgeError('actor', 'action_not_found', `this actor has no action ${native.quote(name)}`);
  const list = [context];
  for (let i = 0; i < args.length; i++) append(list, args[i]);
  return apply(action, undefined, list);
};

const actorUrl = (path) => `http://actor${path}`;

// --- start and stop ---------------------------------------------------------------------------------------------

const PAGE = 256;
// So few sockets are one short page whatever is attached to them.
const FEW = 4;

const restoreSocket = (row) => {
  const socket = openSocket({
    conn: row.conn, path: row.path, hibernatable: row.hibernatable, readyState: OPEN,
    params: hasOwn(row, 'params') ? native.revive(row.params, 1) : undefined,
    state: hasOwn(row, 'state') ? native.revive(row.state, 1) : undefined,
    tags: hasOwn(row, 'tags') ? row.tags : [],
  });
  return { socket, request: receivedRequest('GET', actorUrl(row.path), new Headers(), null) };
};

// A socket whose onWebSocket fails is closed alone; the others go on.
const attach = async ({ socket, request }) => {
  try {
    if (definition.hooks.onWebSocket) await definition.hooks.onWebSocket(c, socket, { request, restored: true });
  } catch (thrown) {
    logThrown(`onWebSocket failed for the restored connection ${socket.id}`, thrown);
    socket.close(4500, 'ws.restore_error');
  }
};

// null if the answer is longer than a call may have, or than this turn has room for.
const socketPage = (after, size) => {
  try {
    return call(`{"call":"socket_list","after":${native.quote(after)},"limit":${size}}`);
  } catch (thrown) {
    if (size > 1 && thrown.group === 'guest' && (thrown.code === 'too_large' || thrown.code === 'budget')) return null;
    throw thrown;
  }
};

const restoreSockets = async (count) => {
  for (let after = '', size = PAGE;;) {
    // Asked for before the page: a page that uses up the turn's bytes leaves no call for it afterwards.
    const next = count > FEW ? nextTurn() : null;
    const rows = socketPage(after, size);
    if (rows === null) {
      size = floor(size / 2);
      await next;
      continue;
    }
    const made = [], attached = [];
    for (let i = 0; i < rows.length; i++) append(made, restoreSocket(rows[i]));
    for (let i = 0; i < made.length; i++) append(attached, attach(made[i]));
    for (let i = 0; i < attached.length; i++) await attached[i];
    if (rows.length < size) return;
    after = rows[rows.length - 1].conn;
    await next;
  }
};

const start = async (ev) => {
  const { hooks } = definition;
  const input = hasOwn(ev, 'input') ? native.revive(ev.input, 0) : undefined;
  identity.actorId = ev.actor;
  identity.name = ev.name;
  identity.key = freeze(ev.key);
  const create = ev.reason === 'create', known = loadState();
  if (create || !known) {
    state = hooks.createState ? await hooks.createState(c, input) : structuredCloneOf(definition.state);
  }
  stateReady = true;
  if (create && hooks.onCreate) await hooks.onCreate(c, input);
  if (hasOwn(ev, 'from_version') && hooks.onUpgrade) await hooks.onUpgrade(c, ev.from_version);
  vars = hooks.createVars ? await hooks.createVars(c) : structuredCloneOf(definition.vars);
  if (hooks.onWake) await hooks.onWake(c);
  if (hasOwn(ev, 'connection_count') && ev.connection_count > 0) await restoreSockets(ev.connection_count);
};

const stop = (ev) => {
  const hook = ev.reason === 'destroy' ? definition.hooks.onDestroy : definition.hooks.onSleep;
  return hook ? hook(c) : undefined;
};

// --- one function per type of event -----------------------------------------------------------------------------

const openedSocket = async (ev) => {
  const socket = openSocket({
    conn: ev.conn, path: ev.path, hibernatable: ev.hibernatable, readyState: CONNECTING, state: undefined, tags: [],
    params: hasOwn(ev, 'params') ? native.revive(ev.params, 0) : undefined,
  });
  try {
    const request = receivedRequest('GET', actorUrl(ev.path), headersFrom(ev.headers), null);
    if (definition.hooks.onWebSocket) await definition.hooks.onWebSocket(c, socket, { request, restored: false });
    if (socket.readyState > OPEN) return;
    const failure = newFailure();
    await afterListeners(receive.open(socket, failure.note), failure);
  } catch (thrown) {
    mapDelete(sockets, ev.conn);
    throw thrown;
  }
};

const socketMessage = (ev) => {
  const socket = mapGet(sockets, ev.conn);
  if (!socket) throw bridgeError('guest', 'unknown_connection', 'there is no such connection');
  const data = hasOwn(ev, 'text') ? ev.text : bufferOf(native.bytes(ev.data, 0));
  const failure = newFailure();
  const init = { data, rivetMessageIndex: ev.index, attempt: hasOwn(ev, 'attempt') ? ev.attempt : 1 };
  return afterListeners(receive.message(socket, init, failure.note), failure);
};

const socketClosed = (ev) => {
  const socket = mapGet(sockets, ev.conn);
  if (!socket) return undefined;
  const failure = newFailure(), init = { code: ev.code, reason: ev.reason, wasClean: ev.clean };
  return afterListeners(receive.close(socket, init, failure.note), failure);
};

const alarm = (ev) => {
  const payload = native.revive(ev.payload, 0);
  if (startsWith(ev.alarm, SCHEDULED)) return runAction(payload.action, payload.args);
  const { onAlarm } = definition.hooks;
  if (!onAlarm) throw bridgeError('actor', 'no_alarm_handler', 'this actor has no onAlarm');
  return onAlarm(c, {
    id: ev.alarm, payload, scheduledAt: ev.scheduled_at, attempt: hasOwn(ev, 'attempt') ? ev.attempt : 1,
  });
};

const request = (ev) => {
  const { onRequest } = definition.hooks;
  if (!onRequest) throw bridgeError('actor', 'action_not_found', 'this actor has no onRequest');
  const bytes = native.bytes(ev.body, 0);
  return onRequest(c, receivedRequest(ev.method, actorUrl(ev.path), headersFrom(ev.headers), bytes.length ? bytes : null));
};

const handle = (ev) => {
  const { id } = ev;
  switch (ev.type) {
    case 'socket_message': return run(id, () => socketMessage(ev), nothing);
    case 'action': return run(id, () => runAction(ev.name, native.revive(ev.args, 0), contextOf(ev)), valueJson);
    case 'completion': return completed(ev);
    case 'request': return run(id, () => request(ev), replyJson);
    case 'socket_opened': return run(id, () => openedSocket(ev), nothing);
    case 'socket_closed': return run(id, () => socketClosed(ev), nothing);
    case 'alarm': return run(id, () => alarm(ev), nothing);
    case 'start': return run(id, () => start(ev), startReply);
    case 'stop': return run(id, () => stop(ev), nothing);
    default: return run(id, () => { throw bridgeError('guest', 'unknown_event', 'this SDK does not know the event'); }, nothing);
  }
};

// Called by the engine with the turn, and again when no job is left.
const enter = (turn) => {
  native.setNow(turn.now);
  inTurn = true;
  const { events } = turn;
  for (let i = 0; i < events.length; i++) handle(events[i]);
};

const finish = () => {
  let failure = null;
  try {
    saveState();
  } catch (thrown) {
    failure = `"error":${errorJson(thrown)}`;
    logThrown('the state cannot be saved', thrown);
    try {
      putStateBack();
      lost = failure;
      putBacks++;
    } catch (again) {
      // The next turn fails in the same way, and asks again.
      logThrown('the state cannot be put back', again);
    }
  }
  try {
    tellHolds();
  } catch (thrown) {
    if (failure === null) failure = `"error":${errorJson(thrown)}`;
    logThrown('the promises that hold the actor cannot be told', thrown);
  }
  let text = '';
  for (let at = settled; at !== null; at = at.before) {
    const body = failure === null ? at.body : failure;
    text = `{"event":${at.id}${body === '' ? '' : ','}${body}}${text === '' ? '' : ','}${text}`;
  }
  settled = null;
  inTurn = false;
  return `{"settled":[${text}],"pending":${pending}}`;
};
