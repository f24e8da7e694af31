// c.client(): handles of other actors of the same namespace. Every call of a handle finds its actor anew, so a handle of
// a key outlives the actor that has the key now.
const keyJson = (key) => {
  const parts = key === undefined || key === null ? [] : isArray(key) ? key : [key];
  let text = '';
  for (let i = 0; i < parts.length; i++) {
    if (typeof parts[i] !== 'string') throw new PTypeError('the key of an actor is a string or a list of strings');
    text += (i ? ',' : '') + native.quote(parts[i]);
  }
  return `[${text}]`;
};

const nameJson = (name) => {
  if (typeof name !== 'string' || name === '') throw new PTypeError('an actor needs the name of a definition');
  return native.quote(name);
};

const timeoutJson = (options) => {
  const ms = options.timeout;
  if (ms === undefined || ms === null) return '';
  if (!isInteger(ms) || ms < 1) throw new PTypeError('timeout must be a whole number of milliseconds');
  return `,"timeout":${ms}`;
};

const inputJson = (input) => (input === undefined ? '' : `,"input":${native.value(input, 0)}`);
const given = (options) => (isObject(options) ? options : {});
const actionResult = (ev) => (hasOwn(ev, 'result') ? native.revive(ev.result, 0) : undefined);
const resolvedId = (ev) => ev.result.actor;

// `target` is the JSON of what names the actor.
class ActorHandle {
  #target;
  #options;
  constructor(target, options) {
    this.#target = target;
    this.#options = options;
  }
  #call(more, read, options) {
    const signal = options.signal === undefined ? this.#options.signal : options.signal;
    return defer(`{"call":"actor_call",${this.#target}${more}${timeoutJson(options)}}`, read, completionError, signal);
  }
  action(options) {
    if (!isObject(options) || typeof options.name !== 'string')
      throw new PTypeError('action() takes {name, args}; handle.actionName(...args) is short for it');
    const args = options.args === undefined ? [] : options.args;
    if (!isArray(args)) throw new PTypeError('args must be a list');
    return this.#call(`,"action":${native.quote(options.name)},"args":${argsJson(args)}`, actionResult, options);
  }
  resolve() { return this.#call('', resolvedId, {}); }
  connect() { throw notAvailable('connect() of a handle'); }
  fetch() { throw notAvailable('fetch() of a handle'); }
  webSocket() { throw notAvailable('webSocket() of a handle'); }
  send() { throw notAvailable('send() of a handle'); }
}

// Item by item: a list whose first item begins with a $ must not be taken for a tag, and it is not one of the guest's.
const argsJson = (args) => {
  let text = '';
  for (let i = 0; i < args.length; i++) text += (i ? ',' : '') + native.value(args[i], 0);
  return `[${text}]`;
};

const actionPath = (handle, name) => new Proxy((...args) => handle.action({ name, args }), {
  get(target, prop) {
    if (typeof prop === 'symbol') return target[prop];
    return prop === 'then' ? undefined : actionPath(handle, `${name}.${prop}`);
  },
});

const proxied = (handle) => new Proxy(handle, {
  get(target, prop) {
    if (typeof prop === 'symbol' || prop === 'constructor') return target[prop];
    if (prop in target) return (...args) => apply(target[prop], target, args);
    return prop === 'then' ? undefined : actionPath(target, prop);
  },
  has: (target, prop) => typeof prop === 'string' || prop in target,
});

const handleOf = (target, options) => proxied(new ActorHandle(target, given(options)));
const keyed = (method, name, key, more) => `"name":${nameJson(name)},"key":${keyJson(key)},"method":"${method}"${more}`;
const idTarget = (id) => {
  if (typeof id !== 'string') throw new PTypeError('the id of an actor is a string');
  return `"actor":${native.quote(id)}`;
};

const clientCalls = {
  get: (name, key, options) => handleOf(keyed('get', name, key, ''), options),
  getOrCreate: (name, key, options) =>
    handleOf(keyed('getOrCreate', name, key, inputJson(given(options).createWithInput)), options),
  getForId: (name, id, options) => handleOf(idTarget(id), options),
  async create(name, key, options) {
    const made = keyed('create', name, key, inputJson(given(options).input));
    const id = await defer(`{"call":"actor_call",${made}}`, resolvedId, completionError, given(options).signal);
    return handleOf(idTarget(id), options);
  },
};

const namedCalls = (name) => freeze({
  get: (key, options) => clientCalls.get(name, key, options),
  getOrCreate: (key, options) => clientCalls.getOrCreate(name, key, options),
  getForId: (id, options) => clientCalls.getForId(name, id, options),
  create: (key, options) => clientCalls.create(name, key, options),
});

const client = new Proxy(freeze({ ...clientCalls }), {
  get(target, prop) {
    if (typeof prop === 'symbol' || hasOwn(target, prop)) return target[prop];
    return prop === 'then' ? undefined : namedCalls(prop);
  },
});
