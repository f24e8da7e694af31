// A module's exports become definitions: one that serves any name, or several by name, of which a start chooses one.
let definition = emptyDefinition();
let named = null;  // name → definition, of a setup(); null if the module has one actor without a name

const setups = new WeakSet();

const setup = (config) => {
  if (!isObject(config) || !isObject(config.use)) throw new PTypeError('setup() takes {use: {name: actor({…})}}');
  const nothingToDo = () => made;
  // Elsewhere these start a server; here the host is one.
  const made = freeze({ config, start: nothingToDo, serve: nothingToDo, handler: nothingToDo, startRunner: nothingToDo });
  setAdd(setups, made);
  return made;
};

const MOST_NAMES = 128;
const NAME_MAX = 64;

// By hand: a tenant may have changed what regular expressions do.
const isName = (name) => {
  for (let i = 0; i < name.length; i++) {
    const code = charCodeAt(name, i), letter = code | 32;
    const known = (letter >= 97 && letter <= 122) || (code >= 48 && code <= 57) || code === 95 || code === 46 || code === 45;
    if (!known) return false;
  }
  return name.length > 0 && name.length <= NAME_MAX;
};

const readNamed = (use) => {
  const names = objectKeys(use), found = new PMap();
  if (names.length === 0) refuse('setup({use}) names no actor');
  if (names.length > MOST_NAMES) refuse(`setup({use}) names more than ${MOST_NAMES} actors`);
  for (let i = 0; i < names.length; i++) {
    if (!isName(names[i])) refuse(`${show(names[i])} is no name of an actor: 1 to 64 of A-Z a-z 0-9 _ . -`);
    if (!isActor(use[names[i]])) refuse(`what setup({use}) calls ${show(names[i])} must be actor({…})`);
    mapSet(found, names[i], rivetDefinition(use[names[i]].config));
  }
  return found;
};

const isActor = (value) => isObject(value) && setHas(actorConfigs, value);
const isSetup = (value) => isObject(value) && setHas(setups, value);

const readPlain = (exported) => {
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

// Without a default export: the one setup() among the exports, or the actors by the names of their exports.
const withoutDefault = (namespace) => {
  const names = objectKeys(namespace), use = createObject(null);
  let registry, actors = 0;
  for (let i = 0; i < names.length; i++) {
    const value = namespace[names[i]];
    if (isSetup(value)) {
      if (registry !== undefined) refuse('the module exports several setup({…}): make one of them the default export');
      registry = value;
    } else if (isActor(value)) {
      use[names[i]] = value;
      actors++;
    }
  }
  if (registry !== undefined) return registry;
  if (actors > 0) return freeze({ use });
  return refuse('the module has no default export: write `export default actor({…})`');
};

const readModule = (namespace) => {
  const exported = namespace.default === undefined ? withoutDefault(namespace) : namespace.default;
  named = null;
  if (isSetup(exported)) named = readNamed(exported.config.use);
  else if (namespace.default === undefined) named = readNamed(exported.use);
  else definition = isActor(exported) ? rivetDefinition(exported.config) : readPlain(exported);
  if (named !== null) mapForEach(named, (first) => { if (definition === unread) definition = first; });
};

const unread = definition;

const chooseDefinition = (name) => {
  if (named === null) return;
  const found = mapGet(named, name);
  // A module with one actor serves any name.
  if (found === undefined && sizeOf(named) > 1)
    throw group(new PError(`this module has no actor ${native.quote(name)}`), 'module', 'no_such_name');
  if (found !== undefined) definition = found;
};

const quotedList = (map, wanted) => {
  let text = '';
  mapForEach(map, (value, name) => { if (wanted(value)) text += (text ? ',' : '') + native.quote(name); });
  return `[${text}]`;
};

const always = () => true;

const factsJson = () => {
  const { hooks, actions, events, options: { hibernate, sleepTimeout, actionTimeout } } = definition;
  return `"actions":${quotedList(actions, always)},"request":${!!hooks.onRequest},"socket":${!!hooks.onWebSocket},` +
    `"auth":${!!hooks.auth},"connect":true,"guarded_events":${quotedList(events, (declared) => declared.canSubscribe)},"hibernate":${hibernate}` +
    (sleepTimeout === undefined ? '' : `,"sleep_timeout":${sleepTimeout}`) +
    (actionTimeout === undefined ? '' : `,"action_timeout":${actionTimeout}`);
};

// Called by the engine with the namespace of the tenant's module. What it answers is of the first actor, and the names
// of all; the host asks no more of an upload.
const bind = (namespace) => {
  readModule(namespace);
  return `{"ok":{${factsJson()},"names":${named === null ? '[]' : quotedList(named, always)}}}`;
};

const startReply = () => `{${factsJson()}}`;

// The exports of "isolate" and "rivetkit".
const sdk = { actor, setup, event, queue, UserError, RivetError, ActorError: RivetError };
