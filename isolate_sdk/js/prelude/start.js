// How an actor begins and ends: its hooks in their order, and the connections that it had before.
const actorUrl = (path) => `http://actor${path}`;

const PAGE = 256;
// So few sockets are one short page whatever is attached to them.
const FEW = 4;

const restoreConn = (row) => {
  const params = hasOwn(row, 'params') ? native.revive(row.params, 1) : undefined;
  const state = hasOwn(row, 'state') ? native.revive(row.state, 1) : undefined;
  const conn = makeConn({
    id: row.conn, auth: authOf(row), state, saved: state === undefined ? undefined : native.value(state, 1), hibernatable: row.hibernatable,
    params: definition.paramsSchema === null ? params : restoredParams(params), kind: kindOf(row),
  });
  mapSet(conns, row.conn, conn);
  if (kindOf(row) === 'connect') return null;
  const socket = openSocket({ conn, path: row.path, readyState: OPEN, tags: hasOwn(row, 'tags') ? row.tags : [] });
  return { socket, conn, request: receivedRequest('GET', actorUrl(row.path), new Headers(), null) };
};

// They passed a schema once; one that has changed since must not keep the actor from waking.
const restoredParams = (params) => {
  try {
    return paramsOf(params);
  } catch (thrown) {
    logThrown('the parameters of a restored connection do not fit connParamsSchema', thrown);
    return params;
  }
};

const kindOf = (from) => (hasOwn(from, 'protocol') ? 'connect' : 'raw');

// A socket whose onWebSocket fails is closed alone; the others go on.
const attach = async (restored) => {
  if (restored === null) return;
  const { socket, conn, request } = restored, { onWebSocket } = definition.hooks;
  try {
    if (onWebSocket) await onWebSocket(contextOf(conn, fromRequest(request)), socket, { request, restored: true });
  } catch (thrown) {
    logThrown(`onWebSocket failed for the restored connection ${conn.id}`, thrown);
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
    for (let i = 0; i < rows.length; i++) append(made, restoreConn(rows[i]));
    for (let i = 0; i < made.length; i++) append(attached, attach(made[i]));
    for (let i = 0; i < attached.length; i++) await attached[i];
    if (rows.length < size) return;
    after = rows[rows.length - 1].conn;
    await next;
  }
};

// The background work of an actor: nothing waits for it, but a stop does, within its grace.
const runInBackground = async (work) => {
  try {
    await work(c);
  } catch (thrown) {
    if (!stopping) logThrown('run failed', thrown);
  }
};

const start = async (ev) => {
  chooseDefinition(ev.name);
  const { hooks, options } = definition;
  const input = hasOwn(ev, 'input') ? native.revive(ev.input, 0) : undefined;
  identity.actorId = ev.actor;
  identity.name = ev.name;
  identity.key = freeze(ev.key);
  const create = ev.reason === 'create', known = loadState();
  if (create || !known) {
    replaceState(hooks.createState ? await hooks.createState(c, input) : structuredCloneOf(definition.state));
    stateChanged = true;
    if (hooks.onStateChange) quietSave();
  }
  stateReady = true;
  if (create && hooks.onCreate) await hooks.onCreate(c, input);
  if (hasOwn(ev, 'from_version') && hooks.onUpgrade) await hooks.onUpgrade(c, ev.from_version);
  vars = hooks.createVars
    ? await within(options.createVars, 'createVars', hooks.createVars(c, undefined)) : structuredCloneOf(definition.vars);
  if (hooks.onMigrate) await within(options.onMigrate, 'onMigrate', hooks.onMigrate(c, create));
  if (hooks.onWake) await hooks.onWake(c);
  if (hasOwn(ev, 'connection_count') && ev.connection_count > 0) await restoreSockets(ev.connection_count);
  if (hooks.run) holdStop(runInBackground(hooks.run));
};

const stop = (ev) => {
  beginStop();
  stateLent = true;  // whatever was changed past its proxy is found now
  const hook = ev.reason === 'destroy' ? definition.hooks.onDestroy : definition.hooks.onSleep;
  return hook ? hook(c) : undefined;
};
