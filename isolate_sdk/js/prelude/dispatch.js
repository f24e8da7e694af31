// Turns: events go in, settled events come out.
const runAction = (context, name, args) => {
  const action = mapGet(definition.actions, name);
  if (!action) throw bridgeError('actor', 'action_not_found', `this actor has no action ${native.quote(name)}`);
  const schema = mapGet(definition.schemas, name);
  const given = schema === undefined ? args : checkedArgs(schema, name, args), list = [context];
  for (let i = 0; i < given.length; i++) append(list, given[i]);
  return apply(action, undefined, list);
};

// A throw in onBeforeActionResponse fails the action: what it was to take out of an answer must not go out.
const answer = async (context, name, args) =>
  definition.hooks.onBeforeActionResponse(context, name, args, await runAction(context, name, args));

const act = (context, name, args) =>
  definition.hooks.onBeforeActionResponse ? answer(context, name, args) : runAction(context, name, args);

const paramsIn = (ev) => (hasOwn(ev, 'params') ? native.revive(ev.params, 0) : undefined);

const action = (ev) => {
  const args = native.revive(ev.args, 0);
  if (hasOwn(ev, 'conn')) return act(contextOf(connOf(ev.conn), NOWHERE), ev.name, args);
  return viaHttp(paramsIn(ev), fromCaller(ev), (context) => act(context, ev.name, args));
};

const connOf = (id) => {
  const conn = mapGet(conns, id);
  if (!conn) throw bridgeError('guest', 'unknown_connection', 'there is no such connection');
  return conn;
};

// --- one function per type of event -----------------------------------------------------------------------------

const openedSocket = async (ev) => {
  const kind = kindOf(ev);
  const conn = makeConn({
    id: ev.conn, params: paramsOf(paramsIn(ev)), auth: authOf(ev), state: undefined, saved: undefined, hibernatable: ev.hibernatable, kind,
  });
  const request = receivedRequest('GET', actorUrl(ev.path), headersFrom(ev.headers), null);
  await admit(conn, fromRequest(request, conn.auth));
  if (kind === 'connect') return;
  const { onWebSocket } = definition.hooks;
  const socket = openSocket({ conn, path: ev.path, readyState: CONNECTING, tags: [] });
  try {
    if (onWebSocket) await onWebSocket(contextOf(conn, fromRequest(request)), socket, { request, restored: false });
    if (socket.readyState > OPEN) return;
    const failure = newFailure();
    await afterListeners(receive.open(socket, failure.note), failure);
  } catch (thrown) {
    mapDelete(sockets, ev.conn);
    drop(conn);
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

const socketClosed = async (ev) => {
  const socket = mapGet(sockets, ev.conn), conn = socket ? connBehind(socket) : mapGet(closing, ev.conn) ?? mapGet(conns, ev.conn);
  mapDelete(closing, ev.conn);
  if (!conn) return;
  const failure = newFailure(), init = { code: ev.code, reason: ev.reason, wasClean: ev.clean };
  if (socket) await allDone(receive.close(socket, init, failure.note), failure);
  try {
    await dismiss(conn);
  } catch (thrown) {
    failure.note(thrown);
  }
  failure.raise();
};

const alarm = (ev) => {
  const payload = native.revive(ev.payload, 0);
  if (hasOwn(ev, 'cron') || startsWith(ev.alarm, SCHEDULED)) {
    const args = isArray(payload.args) ? copyList(payload.args) : [];
    append(args, fireInfo(ev));
    return runAction(c, payload.action, args);
  }
  const { onAlarm } = definition.hooks;
  if (!onAlarm) throw bridgeError('actor', 'no_alarm_handler', 'this actor has no onAlarm');
  return onAlarm(c, {
    id: ev.alarm, payload, scheduledAt: ev.scheduled_at, attempt: hasOwn(ev, 'attempt') ? ev.attempt : 1,
  });
};

// An answer goes out in one piece: one whose body is a stream waits for its end.
const whole = (value) => (isPromiseLike(value) || isStreamed(value) ? wholeLater(value) : value);

const wholeLater = async (value) => {
  const response = await value;
  if (isStreamed(response)) await collectBody(response);
  return response;
};

const request = (ev) => {
  const { onRequest } = definition.hooks;
  if (!onRequest) throw bridgeError('actor', 'action_not_found', 'this actor has no onRequest');
  const bytes = native.bytes(ev.body, 0);
  const made = receivedRequest(ev.method, actorUrl(ev.path), headersFrom(ev.headers), bytes.length ? bytes : null);
  return viaHttp(paramsIn(ev), fromRequest(made, authOf(ev)), (context) => whole(onRequest(context, made)));
};

const handle = (ev) => {
  const { id } = ev;
  switch (ev.type) {
    case 'socket_message': return run(id, () => socketMessage(ev), nothing);
    case 'action': return run(id, () => action(ev), valueJson);
    case 'completion': return completed(ev);
    case 'auth': return run(id, () => ask(ev), valueJson);
    case 'request': return run(id, () => request(ev), replyJson);
    case 'socket_opened': return run(id, () => openedSocket(ev), nothing);
    case 'socket_closed': return run(id, () => socketClosed(ev), nothing);
    case 'subscribe': return run(id, () => canSubscribe(connOf(ev.conn), ev.event), nothing);
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

// null while there is more to do: what a hook has begun goes on, and this is asked again.
const finish = () => {
  let failure = null;
  const failed = (what, thrown) => {
    if (failure === null) failure = `"error":${errorJson(thrown)}`;
    logThrown(what, thrown);
  };
  try {
    saveState();
    if (tellChange()) return null;
  } catch (thrown) {
    failed('the state cannot be saved', thrown);
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
    saveConns();
  } catch (thrown) {
    failed('the state of a connection cannot be saved', thrown);
  }
  try {
    tellHolds();
    armDeadlines();
  } catch (thrown) {
    failed('the promises that hold the actor cannot be told', thrown);
  }
  let text = '';
  for (let at = settled; at !== null; at = at.before) {
    const body = failure === null ? at.body : failure;
    text = `{"event":${at.id}${body === '' ? '' : ','}${body}}${text === '' ? '' : ','}${text}`;
  }
  settled = null;
  inTurn = changeTold = false;
  letProxiesGo();
  if (pending === 0) stateLent = false;
  return `{"settled":[${text}],"pending":${pending}}`;
};
