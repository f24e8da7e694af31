// Connections: one object for each, whatever it speaks. Those of the host's own protocol and raw WebSockets are rows of
// the host, with a state that is kept there; the one of an HTTP call lives as long as the call.
const conns = new PMap();
const closing = new PMap();  // those that the actor has closed itself, until the host says that they are gone
let dirtyConns = null;  // those whose state has changed in this turn
let newConn = null, makeConn, saveConns, connFacts;

const nameOf = (name) => {
  if (typeof name !== 'string') throw new PTypeError('the name of an event must be a string');
  return native.quote(name);
};

class Conn {
  #id;
  #params;
  #auth;
  #state;
  #saved;
  #hibernatable;
  #kind;
  #open = true;
  #root = null;
  #dirty = false;
  #before = null;
  constructor() {
    if (!newConn) throw new PTypeError('a connection comes from a client');
    const { id, params, auth, state, saved, hibernatable, kind } = newConn;
    this.#id = id;
    this.#params = params;
    this.#auth = auth;
    this.#state = state;
    this.#saved = saved;
    this.#hibernatable = hibernatable;
    this.#kind = kind;
  }
  get id() { return this.#id; }
  get params() { return this.#params; }
  get auth() { return this.#auth; }
  get isHibernatable() { return this.#hibernatable; }
  get state() {
    if (typeof this.#state !== 'object' || this.#state === null) return this.#state;
    if (this.#root === null) this.#root = newRoot(() => this.#note());
    return trackIn(this.#root, this.#state);
  }
  set state(value) {
    const plain = plainOf(value), text = native.value(plain, 1);
    this.#save(text);
    this.#replace(plain);
    this.#note();  // what was given may still change in this turn
  }
  send(name, ...args) {
    const text = nameOf(name), list = checkedEvent(name, args);
    if (this.#kind !== 'connect' || !this.#open) return;
    call(`{"call":"event_send","conn":${native.quote(this.#id)},"name":${text},"args":${native.value(list, 0)}}`);
  }
  async disconnect(reason) {
    const text = native.quote(reason === undefined || reason === null ? '' : `${reason}`);
    if (!this.#open) return;
    if (this.#kind !== 'http') call(`{"call":"socket_close","conn":${native.quote(this.#id)},"code":1000,"reason":${text}}`);
    this.#open = false;
    mapDelete(conns, this.#id);
    if (this.#kind === 'connect') mapSet(closing, this.#id, this);
    else if (this.#kind === 'raw') leaveSocket(this.#id);
  }
  #replace(state) {
    this.#state = state;
    this.#root = null;
  }
  #note() {
    if (this.#dirty) return;
    this.#dirty = true;
    this.#before = dirtyConns;
    dirtyConns = this;
  }
  #save(text) {
    if (this.#kind === 'http' || text === this.#saved) return;
    if (this.#open) call(`{"call":"socket_set_state","conn":${native.quote(this.#id)},"state":${text}}`);
    this.#saved = text;
  }
  static {
    makeConn = (given) => {
      newConn = given;
      try {
        return new Conn();
      } finally {
        newConn = null;
      }
    };
    // At the end of a turn. A state that cannot be saved is again what was saved last.
    saveConns = () => {
      let failed = false, failure;
      while (dirtyConns !== null) {
        const conn = dirtyConns;
        dirtyConns = conn.#before;
        conn.#before = null;
        conn.#dirty = false;
        if (conn.#kind === 'http') continue;
        try {
          conn.#save(native.value(conn.#state, 1));
        } catch (thrown) {
          if (!failed) failure = thrown;
          failed = true;
          conn.#replace(conn.#saved === undefined ? undefined : native.revive(parseJson(conn.#saved), 2));
        }
      }
      if (failed) throw failure;
    };
    connFacts = {
      begin: (conn, state) => {
        const plain = plainOf(state);
        conn.#save(native.value(plain, 1));
        conn.#replace(plain);
      },
      close: (conn) => { conn.#open = false; },
      id: (conn) => conn.#id,
      auth: (conn) => conn.#auth,
    };
  }
}

const broadcast = (name, args) => {
  const text = nameOf(name);
  call(`{"call":"event_broadcast","name":${text},"args":${native.value(checkedEvent(name, args), 0)}}`);
};

// c.conns: what a Map of them looks like, without the ways to change it.
const connRows = (pick) => {
  const rows = [];
  mapForEach(conns, (conn, id) => append(rows, pick(conn, id)));
  return rowsOf(rows);
};

const connections = freeze({
  get size() { return sizeOf(conns); },
  get(id) { return mapGet(conns, id); },
  has(id) { return mapHas(conns, id); },
  keys() { return connRows((_, id) => id); },
  values() { return connRows((conn) => conn); },
  entries() { return connRows((conn, id) => [id, conn]); },
  [Symbol.iterator]() { return connRows((conn, id) => [id, conn]); },
  forEach(run, self) { mapForEach(conns, (conn, id) => { apply(run, self, [conn, id, connections]); }); },
  [Symbol.toStringTag]: 'Connections',
});

// The connection of an HTTP call. Its id is random, and made without asking the host for each.
let callIds = '', lastCall = 0;

const httpConn = (params, auth) => {
  if (callIds === '') callIds = hex(randomBytes(12));
  const n = `${++lastCall}`;
  return makeConn({
    id: `${callIds}${slice('00000000', 0, 8 - n.length)}${n}`, params, auth, state: undefined, saved: undefined, hibernatable: false, kind: 'http',
  });
};
