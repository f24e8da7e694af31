// Raw WebSockets: one object per connection, from its opening (or a wake) to its close event.
const sockets = new PMap();
const CONNECTING = 0, OPEN = 1, CLOSING = 2, CLOSED = 3;

const tagList = (tags) => {
  if (!isArray(tags)) throw new PTypeError('tags must be a list of strings');
  let text = '';
  for (let i = 0; i < tags.length; i++) {
    if (typeof tags[i] !== 'string') throw new PTypeError('tags must be a list of strings');
    text += (i ? ',' : '') + native.quote(tags[i]);
  }
  return `[${text}]`;
};

let newSocket = null, openSocket, receive, connBehind, leaveSocket;

class ActorWebSocket extends EventTarget {
  #conn;
  #quoted;
  #path;
  #tags;
  #readyState;
  onopen = null;
  onmessage = null;
  onclose = null;
  onerror = null;
  constructor() {
    if (!newSocket) throw new PTypeError('a WebSocket comes from onWebSocket: an actor cannot open one itself');
    super();
    const { conn, path, tags, readyState } = newSocket;
    this.#conn = conn;
    this.#quoted = native.quote(connFacts.id(conn));
    this.#path = path;
    this.#tags = tags;
    this.#readyState = readyState;
  }
  get id() { return connFacts.id(this.#conn); }
  get path() { return this.#path; }
  get url() { return `ws://actor${this.#path}`; }
  get params() { return this.#conn.params; }
  get auth() { return this.#conn.auth; }
  get hibernatable() { return this.#conn.isHibernatable; }
  get protocol() { return ''; }
  get extensions() { return ''; }
  get bufferedAmount() { return 0; }
  get readyState() { return this.#readyState; }
  get binaryType() { return 'arraybuffer'; }
  set binaryType(type) {
    if (type !== 'arraybuffer') throw new PTypeError('binaryType is always "arraybuffer" here');
  }
  // The same as c.conn.state.
  get state() { return this.#conn.state; }
  set state(value) { this.#conn.state = value; }
  get tags() { return copyList(this.#tags); }
  set tags(list) {
    call(`{"call":"socket_set_tags","conn":${this.#quoted},"tags":${tagList(list)}}`);
    this.#tags = copyList(list);
  }
  // As in a browser, what is sent to a socket that is closing or closed goes nowhere.
  send(data) {
    if (this.#readyState > OPEN) return;
    if (typeof data === 'string') call(`{"call":"socket_send","conn":${this.#quoted},"text":${native.quote(data)}}`);
    else call(`{"call":"socket_send","conn":${this.#quoted},"data":${field(data, 'what is sent')}}`);
  }
  close(code, reason) {
    const number = code === undefined ? 1000 : PNumber(code);
    if (number !== 1000 && !(isInteger(number) && number >= 3000 && number <= 4999))
      throw new PDOMException('the close code must be 1000 or from 3000 to 4999', 'InvalidAccessError');
    if (this.#readyState > OPEN) return;
    const text = native.quote(reason === undefined ? '' : `${reason}`);
    call(`{"call":"socket_close","conn":${this.#quoted},"code":${number},"reason":${text}}`);
    this.#readyState = CLOSING;
  }
  static {
    openSocket = (given) => {
      newSocket = given;
      try {
        const socket = new ActorWebSocket();
        mapSet(sockets, connFacts.id(given.conn), socket);
        return socket;
      } finally {
        newSocket = null;
      }
    };
    connBehind = (socket) => socket.#conn;
    // Its connection was closed by the actor.
    leaveSocket = (id) => {
      const socket = mapGet(sockets, id);
      if (socket) socket.#readyState = CLOSING;
    };
    // Each of these gives back what the listeners returned.
    receive = {
      open: (socket, failed) => {
        if (socket.#readyState === CONNECTING) socket.#readyState = OPEN;
        return fire(socket, new Event('open'), socket.onopen, failed);
      },
      message: (socket, init, failed) => fire(socket, new MessageEvent('message', init), socket.onmessage, failed),
      close: (socket, init, failed) => {
        socket.#readyState = CLOSED;
        mapDelete(sockets, connFacts.id(socket.#conn));
        return fire(socket, new CloseEvent('close', init), socket.onclose, failed);
      },
    };
  }
}
for (const [name, value] of [['CONNECTING', CONNECTING], ['OPEN', OPEN], ['CLOSING', CLOSING], ['CLOSED', CLOSED]]) {
  defineProperty(ActorWebSocket, name, { value, enumerable: true });
  defineProperty(ActorWebSocket.prototype, name, { value, enumerable: true });
}
defineProperty(ActorWebSocket, 'name', { value: 'WebSocket' });
expose('WebSocket', ActorWebSocket);
