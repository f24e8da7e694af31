// What a module exports: actor({...}) in RivetKit's words, or a plain object (or class) with PartyKit's hooks. Both
// become one definition, and the rest of the prelude knows only that.
const RIVET_HOOKS = ['createState', 'createVars', 'onCreate', 'onUpgrade', 'onWake', 'onSleep', 'onDestroy', 'onRequest', 'onWebSocket', 'onAlarm'];
const PLAIN_HOOKS = ['onStart', 'onUpgrade', 'onSleep', 'onDestroy', 'onConnect', 'onMessage', 'onClose', 'onAlarm', 'onRequest'];

let definition = { hooks: createObject(null), actions: new PMap(), options: {}, state: undefined, vars: undefined };

const refuse = (message) => {
  throw group(new PTypeError(message), 'module', 'no_actor');
};

const actorConfigs = new WeakSet();
const setups = new WeakSet();

const actor = (config) => {
  if (!isObject(config) || typeof config === 'function') throw new PTypeError('actor() takes an object');
  const made = freeze({ config });
  setAdd(actorConfigs, made);
  return made;
};

const setup = (config) => {
  if (!isObject(config) || !isObject(config.use)) throw new PTypeError('setup() takes {use: {name: actor({…})}}');
  const made = freeze({ config });
  setAdd(setups, made);
  return made;
};

const event = () => { throw notAvailable('event()'); };
const queue = () => { throw notAvailable('queue()'); };

const readHooks = (source, names) => {
  const hooks = createObject(null);
  for (let i = 0; i < names.length; i++) {
    const hook = source[names[i]];
    if (hook === undefined || hook === null) continue;
    if (typeof hook !== 'function') refuse(`${names[i]} must be a function`);
    hooks[names[i]] = hook;
  }
  return hooks;
};

const readActions = (source) => {
  const actions = new PMap();
  if (source === undefined || source === null) return actions;
  if (!isObject(source)) refuse('actions must be an object of functions');
  const names = objectKeys(source);
  for (let i = 0; i < names.length; i++) {
    if (typeof source[names[i]] !== 'function') refuse(`the action ${show(names[i])} must be a function`);
    mapSet(actions, names[i], source[names[i]]);
  }
  return actions;
};

const duration = (options, name) => {
  const value = options[name];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'number' || !(value >= 0)) refuse(`options.${name} must be a number of milliseconds`);
  return value > LONGEST ? LONGEST : floor(value);
};

const readOptions = (source) => {
  const options = source === undefined || source === null ? {} : source;
  if (!isObject(options)) refuse('options must be an object');
  const hibernate = options.canHibernateWebSocket;
  if (hibernate !== undefined && typeof hibernate !== 'boolean') refuse('options.canHibernateWebSocket must be true or false');
  return {
    hibernate: hibernate !== false,
    sleepTimeout: duration(options, 'sleepTimeout'),
    actionTimeout: duration(options, 'actionTimeout'),
  };
};

const rivetDefinition = (config) => {
  const hooks = readHooks(config, RIVET_HOOKS);
  if (config.state !== undefined && hooks.createState) refuse('give either state or createState, not both');
  if (config.vars !== undefined && hooks.createVars) refuse('give either vars or createVars, not both');
  const bound = createObject(null);
  for (const name in hooks) {
    const hook = hooks[name];
    bound[name] = (...args) => apply(hook, config, args);
  }
  return {
    hooks: bound, actions: readActions(config.actions), options: readOptions(config.options),
    state: config.state, vars: config.vars,
  };
};

// The plainer face: hooks get what happened first and the context last.
const plainDefinition = (source) => {
  const hooks = readHooks(source, PLAIN_HOOKS), bound = createObject(null);
  if (hooks.onUpgrade) bound.onUpgrade = (c, from) => apply(hooks.onUpgrade, source, [from, c]);
  if (hooks.onStart) bound.onWake = (c) => apply(hooks.onStart, source, [c]);
  if (hooks.onSleep) bound.onSleep = (c) => apply(hooks.onSleep, source, [c]);
  if (hooks.onDestroy) bound.onDestroy = (c) => apply(hooks.onDestroy, source, [c]);
  if (hooks.onRequest) bound.onRequest = (c, request) => apply(hooks.onRequest, source, [request, c]);
  if (hooks.onAlarm) bound.onAlarm = (c, alarm) => apply(hooks.onAlarm, source, [alarm, c]);
  if (hooks.onConnect || hooks.onMessage || hooks.onClose) {
    bound.onWebSocket = (c, conn, { restored }) => {
      if (hooks.onMessage) conn.onmessage = (e) => apply(hooks.onMessage, source, [conn, e.data, c, e]);
      if (hooks.onClose) conn.onclose = (e) => apply(hooks.onClose, source, [conn, e.code, e.reason, c]);
      if (hooks.onConnect && !restored) conn.onopen = () => apply(hooks.onConnect, source, [conn, c]);
    };
  }
  const actions = readActions(source.actions), bare = new PMap();
  mapForEach(actions, (run, name) => mapSet(bare, name, (...args) => apply(run, source, args)));
  return { hooks: bound, actions: bare, options: readOptions(source.options), state: source.state, vars: source.vars };
};

const readDefinition = (exported) => {
  if (isObject(exported) && setHas(setups, exported)) {
    const names = objectKeys(exported.config.use);
    if (names.length !== 1) refuse('setup({use}) must name exactly one actor here: each definition is a module of its own');
    return readDefinition(exported.config.use[names[0]]);
  }
  if (isObject(exported) && setHas(actorConfigs, exported)) return rivetDefinition(exported.config);
  if (exported === undefined) refuse('the module has no default export: write `export default actor({…})`');
  let source = exported;
  if (typeof source === 'function') {
    try {
      source = new exported();
    } catch (_) {
      refuse('the default export must be actor({…}), an object with hooks, or a class of one');
    }
  }
  if (!isObject(source)) refuse('the default export must be actor({…}), an object with hooks, or a class of one');
  let known = source.actions !== undefined;
  for (let i = 0; i < PLAIN_HOOKS.length; i++) if (source[PLAIN_HOOKS[i]] !== undefined) known = true;
  if (!known) refuse('the default export has no hook that this host knows: write actor({…}), or onMessage, onRequest, …');
  return plainDefinition(source);
};

const nameList = () => {
  let text = '';
  mapForEach(definition.actions, (_, name) => { text += (text ? ',' : '') + native.quote(name); });
  return `[${text}]`;
};

const optionsJson = () => {
  const { hibernate, sleepTimeout, actionTimeout } = definition.options;
  return `"hibernate":${hibernate}` +
    (sleepTimeout === undefined ? '' : `,"sleep_timeout":${sleepTimeout}`) +
    (actionTimeout === undefined ? '' : `,"action_timeout":${actionTimeout}`);
};

// Called by the engine with the namespace of the tenant's module.
const bind = (namespace) => {
  definition = readDefinition(namespace.default);
  const { hooks } = definition;
  return `{"ok":{"actions":${nameList()},"request":${!!hooks.onRequest},"socket":${!!hooks.onWebSocket},` +
    `"alarm":${!!hooks.onAlarm},"options":{${optionsJson()}}}}`;
};

const startReply = () =>
  `{"actions":${nameList()},"request":${!!definition.hooks.onRequest},"socket":${!!definition.hooks.onWebSocket},${optionsJson()}}`;

// The exports of "isolate" and "rivetkit".
const sdk = { actor, setup, event, queue, UserError };
