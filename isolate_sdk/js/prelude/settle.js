// What becomes of an event: it is settled when its handler has returned and the promise it returned is settled. The
// reply is built as text, so that nothing the tenant changed can get into it.
let pending = 0;
let settled = null;  // what this turn has settled, the last one first
// What was in work when the state was put back has lost its changes, and must not succeed in a later turn.
let putBacks = 0, lost = null;

const settle = (id, body, begun) => {
  pending--;
  settled = { id, body: begun === putBacks ? body : lost, before: settled };
};

const settleError = (id, thrown, begun) => settle(id, `"error":${errorJson(thrown)}`, begun);

// `write` gives the JSON of a result, or '' for none.
const settleResult = (id, value, write, begun) => {
  let text;
  try {
    text = write(value);
  } catch (thrown) {
    settleError(id, thrown, begun);
    return;
  }
  settle(id, text === '' ? '' : `"result":${text}`, begun);
};

const settleLater = async (id, promise, write, begun) => {
  let value;
  try {
    value = await promise;
  } catch (thrown) {
    settleError(id, thrown, begun);
    return;
  }
  settleResult(id, value, write, begun);
};

const isPromiseLike = (value) => isObject(value) && typeof value.then === 'function';

const run = (id, handler, write) => {
  pending++;
  const begun = putBacks;
  let value, later;
  try {
    value = handler();
    later = isPromiseLike(value);
  } catch (thrown) {
    settleError(id, thrown, begun);
    return;
  }
  if (later) settleLater(id, value, write, begun);
  else settleResult(id, value, write, begun);
};

const nothing = () => '';
const valueJson = (value) => (value === undefined ? '' : native.value(value, 0));

// Waits for what listeners returned; the first failure is the event's, further ones are logged.
const awaitAll = async (results, failure) => {
  await allDone(results, failure);
  failure.raise();
};

const allDone = async (results, failure) => {
  for (let i = 0; i < results.length; i++) {
    try {
      await results[i];
    } catch (thrown) {
      failure.note(thrown);
    }
  }
};

const newFailure = () => {
  let failed = false, first;
  return {
    note(thrown) {
      if (failed) logThrown('another listener failed too', thrown);
      else first = thrown;
      failed = true;
    },
    raise() {
      if (failed) throw first;
    },
  };
};

const afterListeners = (results, failure) => {
  for (let i = 0; i < results.length; i++) if (isPromiseLike(results[i])) return awaitAll(results, failure);
  failure.raise();
};
