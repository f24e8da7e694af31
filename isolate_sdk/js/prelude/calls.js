// Calls that complete later with a result or an error, in a turn of their own. `defer` makes one and gives its promise;
// `read` turns the completion event into the result, in the turn in which it came.
const waiting = new PMap();  // what waits for each call, by its id

const signalReason = (signal) => {
  if (signal === undefined || signal === null) return null;
  if (!isObject(signal) || typeof signal.addEventListener !== 'function')
    throw new PTypeError('signal must be an AbortSignal');
  return signal.aborted ? { reason: signal.reason } : null;
};

const defer = (text, read, failed, signal) => new PPromise((resolve, reject) => {
  const aborted = signalReason(signal);
  if (aborted !== null) {
    reject(aborted.reason);
    return;
  }
  const id = call(text).call;
  let unlisten = null;
  if (signal) {
    const giveUp = () => {
      if (!mapGet(waiting, id)) return;
      mapDelete(waiting, id);
      reject(signal.reason);
      try {
        call(`{"call":"call_cancel","which":${id}}`);
      } catch (_) {
        // Over the turn's budget: the call goes on, and its completion is ignored.
      }
    };
    signal.addEventListener('abort', giveUp);
    unlisten = () => signal.removeEventListener('abort', giveUp);
  }
  mapSet(waiting, id, { resolve, reject, read, failed, unlisten });
});

// What the error of a completion is here. One of the group user is a UserError, so that it passes on as it is.
const completionError = (what) => {
  const metadata = hasOwn(what, 'metadata') ? native.revive(what.metadata, 0) : undefined;
  if (what.group === 'user') return new UserError(what.message, { code: what.code, metadata });
  return group(new PError(`${what.message}`), what.group, what.code, metadata);
};

const completed = (ev) => {
  const waiter = mapGet(waiting, ev.call);
  if (!waiter) {
    complete(ev.call);
    return;
  }
  mapDelete(waiting, ev.call);
  if (waiter.unlisten !== null) waiter.unlisten();
  try {
    if (hasOwn(ev, 'error')) waiter.reject(waiter.failed(ev.error));
    else waiter.resolve(waiter.read(ev));
  } catch (thrown) {
    waiter.reject(thrown);
  }
};
