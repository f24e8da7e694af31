// The context `c` of an actor, and its state: one document, saved at the end of a turn when its text has changed.
let state, vars, savedState, stateReady = false;
const identity = { actorId: '', name: '', key: freeze([]) };

const c = {
  get state() { return state; },
  set state(value) { state = value; },
  get vars() { return vars; },
  set vars(value) { vars = value; },
  get actorId() { return identity.actorId; },
  get name() { return identity.name; },
  get key() { return identity.key; },
  kv, schedule, alarms, log,
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
  saveState() { return saveState(); },
};
freeze(c);

const loadState = () => {
  const found = call('{"call":"state_get"}');
  if (found === null) return false;
  savedState = native.value(state = native.revive(found, 1), 1);
  return true;
};

const saveState = () => {
  if (!stateReady || (state === undefined && savedState === undefined)) return;
  const text = native.value(state, 1);
  if (text === savedState) return;
  call(`{"call":"state_put","value":${text}}`);
  savedState = text;
};

// To what was saved last. Nothing was saved before only if there was no state, or if the actor's creation fails.
const putStateBack = () => {
  state = savedState === undefined ? undefined : native.revive(call('{"call":"state_get"}'), 1);
};
