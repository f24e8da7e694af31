// What a module exports: actor({...}) in RivetKit's words, or a plain object (or class) with PartyKit's hooks. Both
// become one definition, and the rest of the prelude knows only that.
const RIVET_HOOKS = [
  'createState', 'createVars', 'onCreate', 'onUpgrade', 'onMigrate', 'onWake', 'onSleep', 'onDestroy', 'onStateChange',
  'onBeforeConnect', 'createConnState', 'onConnect', 'onDisconnect', 'onBeforeActionResponse', 'onRequest', 'onWebSocket', 'onAlarm', 'auth',
];
const PLAIN_HOOKS = ['onStart', 'onUpgrade', 'onSleep', 'onDestroy', 'onConnect', 'onMessage', 'onClose', 'onAlarm', 'onRequest', 'auth'];

const refuse = (message) => {
  throw group(new PTypeError(message), 'module', 'no_actor');
};

const actorConfigs = new WeakSet();

const actor = (config) => {
  if (!isObject(config) || typeof config === 'function') throw new PTypeError('actor() takes an object');
  const made = freeze({ config });
  setAdd(actorConfigs, made);
  return made;
};

// Tokens: what they were given, to be read with the definition that they stand in.
const event = (options) => options ?? {};
const queue = (options) => options ?? {};

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

// Groups of actions are flattened, with dots in their names; `found` maps a name to [function, path].
const readGroup = (source, path, found) => {
  const names = objectKeys(source);
  for (let i = 0; i < names.length; i++) {
    const way = copyList(path), value = source[names[i]];
    append(way, names[i]);
    let name = way[0];
    for (let j = 1; j < way.length; j++) name += `.${way[j]}`;
    if (isObject(value) && typeof value !== 'function' && !isArray(value) && way.length < GROUP_DEPTH) readGroup(value, way, found);
    else if (typeof value !== 'function') refuse(`the action ${show(name)} must be a function, or an object of them`);
    else if (mapHas(found, name)) refuse(`there are two actions ${show(name)}`);
    else mapSet(found, name, [value, way]);
  }
  return found;
};

const GROUP_DEPTH = 16;

const readActions = (source) => {
  if (source === undefined || source === null) return new PMap();
  if (!isObject(source) || typeof source === 'function') refuse('actions must be an object of functions');
  return readGroup(source, [], new PMap());
};

const functionsOf = (found) => {
  const actions = new PMap();
  mapForEach(found, (row, name) => mapSet(actions, name, row[0]));
  return actions;
};

// The schema of an action stands under its path, or under its name with dots.
const readSchemas = (source, found) => {
  const schemas = new PMap();
  if (source === undefined || source === null) return schemas;
  if (!isObject(source)) refuse('actionInputSchemas must be an object of schemas');
  mapForEach(found, (row, name) => {
    let schema = source;
    for (let i = 0; i < row[1].length && isObject(schema); i++) schema = hasOwn(schema, row[1][i]) ? schema[row[1][i]] : undefined;
    if (schema === undefined && hasOwn(source, name)) schema = source[name];
    if (schema === undefined) return;
    if (!isSchema(schema)) refuse(`the schema of the action ${show(name)} must have parse, or be a standard schema`);
    mapSet(schemas, name, schema);
  });
  return schemas;
};

// name → {schema or null, canSubscribe or undefined}; a declaration is a schema itself, or holds one.
const readEvents = (source) => {
  const events = new PMap();
  if (source === undefined || source === null) return events;
  if (!isObject(source)) refuse('events must be an object');
  const names = objectKeys(source);
  for (let i = 0; i < names.length; i++) {
    const declared = source[names[i]];
    if (isSchema(declared)) {
      mapSet(events, names[i], { schema: declared, canSubscribe: undefined });
      continue;
    }
    if (!isObject(declared)) refuse(`the event ${show(names[i])} must be event(), or a schema`);
    const { schema, canSubscribe } = declared;
    if (canSubscribe !== undefined && typeof canSubscribe !== 'function')
      refuse(`canSubscribe of the event ${show(names[i])} must be a function`);
    if (schema !== undefined && !isSchema(schema))
      refuse(`the schema of the event ${show(names[i])} must have parse, or be a standard schema`);
    mapSet(events, names[i], { schema: schema === undefined ? null : schema, canSubscribe });
  }
  return events;
};

const duration = (options, name) => {
  const value = options[name];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'number' || !(value >= 0)) refuse(`options.${name} must be a number of milliseconds`);
  return value > LONGEST ? LONGEST : floor(value);
};

// Of hooks that have a time limit of their own, in ms.
const HOOK_LIMITS = { createVars: 5000, createConnState: 5000, onBeforeConnect: 5000, onConnect: 5000, onMigrate: 30000 };

const readOptions = (source) => {
  const options = source === undefined || source === null ? {} : source;
  if (!isObject(options)) refuse('options must be an object');
  const hibernate = options.canHibernateWebSocket;
  // A function of the request may say so too; here it is one answer for all, and yes.
  if (hibernate !== undefined && typeof hibernate !== 'boolean' && typeof hibernate !== 'function')
    refuse('options.canHibernateWebSocket must be true or false');
  const read = {
    hibernate: hibernate !== false,
    sleepTimeout: options.noSleep === true ? LONGEST : duration(options, 'sleepTimeout'),
    actionTimeout: duration(options, 'actionTimeout'),
  };
  for (const hook in HOOK_LIMITS) {
    const given = duration(options, `${hook}Timeout`);
    read[hook] = given === undefined ? HOOK_LIMITS[hook] : given;
  }
  return read;
};

const notBoth = (config, value, hook) => {
  if (config[value] !== undefined && config[hook] !== undefined) refuse(`give either ${value} or ${hook}, not both`);
};

const ACTOR_FIELDS = [...RIVET_HOOKS, ...FIELDS];

const rivetDefinition = (config) => {
  refuseUnknown(config, 'actor({…})', ACTOR_FIELDS);
  if (isObject(config.options)) refuseUnknown(config.options, 'options', OPTIONS);
  const hooks = readHooks(config, RIVET_HOOKS), found = readActions(config.actions);
  notBoth(config, 'state', 'createState');
  notBoth(config, 'vars', 'createVars');
  notBoth(config, 'connState', 'createConnState');
  if (isObject(config.queues) && objectKeys(config.queues).length) refuse('queues are not available yet');
  if (config.db !== undefined) refuse('db is not available yet');
  const bound = createObject(null);
  for (const name in hooks) {
    const hook = hooks[name];
    bound[name] = (...args) => apply(hook, config, args);
  }
  const { run } = config;
  if (run !== undefined) {
    const work = isObject(run) && typeof run !== 'function' ? run.run : run;
    if (typeof work !== 'function') refuse('run must be a function');
    bound.run = (context) => apply(work, config, [context]);
  }
  const params = config.connParamsSchema;
  if (params !== undefined && !isSchema(params)) refuse('connParamsSchema must have parse, or be a standard schema');
  return newDefinition({
    hooks: bound, actions: functionsOf(found), options: readOptions(config.options), state: config.state, vars: config.vars,
    schemas: readSchemas(config.actionInputSchemas, found), events: readEvents(config.events), connState: config.connState,
    paramsSchema: params === undefined ? null : params,
  });
};

// `connects`: whether something would notice that a connection comes or goes.
const newDefinition = (given) => {
  const { hooks, connState, paramsSchema } = given;
  given.connects = !!(hooks.onBeforeConnect || hooks.createConnState || hooks.onConnect || hooks.onDisconnect) ||
    connState !== undefined || paramsSchema !== null;
  return given;
};

const emptyDefinition = () => newDefinition({
  hooks: createObject(null), actions: new PMap(), options: readOptions(), state: undefined, vars: undefined,
  schemas: new PMap(), events: new PMap(), connState: undefined, paramsSchema: null,
});

// The plainer face: hooks get what happened first and the context last.
const plainDefinition = (source) => {
  const hooks = readHooks(source, PLAIN_HOOKS), bound = createObject(null);
  if (hooks.onUpgrade) bound.onUpgrade = (c, from) => apply(hooks.onUpgrade, source, [from, c]);
  if (hooks.onStart) bound.onWake = (c) => apply(hooks.onStart, source, [c]);
  if (hooks.onSleep) bound.onSleep = (c) => apply(hooks.onSleep, source, [c]);
  if (hooks.onDestroy) bound.onDestroy = (c) => apply(hooks.onDestroy, source, [c]);
  if (hooks.auth) bound.auth = (c, request) => apply(hooks.auth, source, [request, c]);
  if (hooks.onRequest) bound.onRequest = (c, request) => apply(hooks.onRequest, source, [request, c]);
  if (hooks.onAlarm) bound.onAlarm = (c, alarm) => apply(hooks.onAlarm, source, [alarm, c]);
  if (hooks.onConnect || hooks.onMessage || hooks.onClose) {
    bound.onWebSocket = (c, conn, { restored }) => {
      if (hooks.onMessage) conn.onmessage = (e) => apply(hooks.onMessage, source, [conn, e.data, c, e]);
      if (hooks.onClose) conn.onclose = (e) => apply(hooks.onClose, source, [conn, e.code, e.reason, c]);
      if (hooks.onConnect && !restored) conn.onopen = () => apply(hooks.onConnect, source, [conn, c]);
    };
  }
  const plain = emptyDefinition();
  mapForEach(readActions(source.actions), (row, name) => mapSet(plain.actions, name, (...args) => apply(row[0], source, args)));
  plain.hooks = bound;
  plain.options = readOptions(source.options);
  plain.state = source.state;
  plain.vars = source.vars;
  return plain;
};
