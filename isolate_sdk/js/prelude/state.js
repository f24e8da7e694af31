// The state of an actor: one document, written at the end of a turn that changed it, once its text is another.
let state, savedState, stateReady = false;
let stateRoot = null, stateProxy;  // made when the document is first asked for
let stateChanged = false;
// An object that came into the document may be changed past its proxy for as long as the handler that put it there, or
// another one, is in work. Later changes of that kind are found by the next change, or when the actor stops.
let stateLent = false;
let changeUntold = false, changeTold = false;

const noteState = (lent) => {
  stateChanged = true;
  if (lent) stateLent = true;
};

const replaceState = (value) => {
  state = plainOf(value);
  stateRoot = null;
  stateProxy = undefined;
};

const trackedState = () => {
  if (typeof state !== 'object' || state === null) return state;
  if (stateRoot === null) stateProxy = trackIn(stateRoot = newRoot(noteState), state);
  return stateProxy;
};

const setState = (value) => {
  replaceState(value);
  noteState(true);
};

const loadState = () => {
  const found = call('{"call":"state_get"}');
  if (found === null) return false;
  replaceState(native.revive(found, 1));
  savedState = native.value(state, 1);
  return true;
};

const saveState = () => {
  if (!stateReady || !(stateChanged || stateLent) || (state === undefined && savedState === undefined)) return;
  const text = native.value(state, 1);
  if (text !== savedState) {
    call(`{"call":"state_put","value":${text}}`);
    savedState = text;
    changeUntold = true;
  }
  stateChanged = false;
};

// The first state is no change.
const quietSave = () => {
  stateReady = true;
  saveState();
  changeUntold = false;
};

// To what was saved last. Nothing was saved before only if there was no state, or if the actor's creation fails.
const putStateBack = () => {
  replaceState(savedState === undefined ? undefined : native.revive(call('{"call":"state_get"}'), 1));
  stateChanged = false;
};

const followChange = async (promise) => {
  try {
    await promise;
  } catch (thrown) {
    logThrown('onStateChange failed', thrown);
  }
};

// Once a turn, at its end; true if the hook ran. What it changes itself is saved, and does not call it again.
const tellChange = () => {
  if (!changeUntold) return false;
  changeUntold = false;
  const hook = definition.hooks.onStateChange;
  if (!hook || changeTold) return false;
  changeTold = true;
  try {
    const value = hook(c, trackedState());
    if (isPromiseLike(value)) followChange(value);
  } catch (thrown) {
    logThrown('onStateChange failed', thrown);
  }
  return true;
};
