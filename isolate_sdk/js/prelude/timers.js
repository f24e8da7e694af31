// Timers: each is a deferred call of the host, answered by a completion. They are never durable and do not hold the
// actor awake. One that is cleared is ended at the host too; if it was due by then, its completion is ignored.
const LONGEST = 2147483647;
const timersByCall = new PMap();
const timersById = new PMap();
let lastTimer = 0;

const delay = (ms) => {
  const n = floor(PNumber(ms));
  return n > 0 ? (n < LONGEST ? n : LONGEST) : 0;
};

const arm = (timer) => {
  timer.call = call(`{"call":"timer","after":${timer.ms}}`).call;
  mapSet(timersByCall, timer.call, timer);
};

const setTimer = (run, ms, every, args) => {
  if (typeof run !== 'function') throw new PTypeError('a timer needs a function');
  const timer = { id: ++lastTimer, run, ms: delay(ms), every, args, call: 0 };
  arm(timer);
  mapSet(timersById, timer.id, timer);
  return timer.id;
};

const clearTimer = (id) => {
  const timer = mapGet(timersById, id);
  if (!timer) return;
  mapDelete(timersById, id);
  mapDelete(timersByCall, timer.call);
  try {
    call(`{"call":"timer_cancel","timer":${timer.call}}`);
  } catch (_) {
    // Over the turn's budget: the timer counts until its time, and its completion is ignored.
  }
};

// What the tenant may have can be less by now: then an interval ends, and nothing else does.
const armAgain = (timer) => {
  try {
    arm(timer);
    return true;
  } catch (thrown) {
    logThrown('an interval ends', thrown);
    return false;
  }
};

// The host answers a deferred call.
const complete = (callId) => {
  const timer = mapGet(timersByCall, callId);
  if (!timer) return;
  mapDelete(timersByCall, callId);
  if (!timer.every || !armAgain(timer)) mapDelete(timersById, timer.id);
  try {
    apply(timer.run, globalThis, timer.args);
  } catch (thrown) {
    logThrown('a timer threw', thrown);
  }
};

// A turn of its own for what follows.
const nextTurn = () => new PPromise((resolve) => setTimer(resolve, 0, false, []));

expose('setTimeout', (run, ms, ...args) => setTimer(run, ms, false, args));
expose('setInterval', (run, ms, ...args) => setTimer(run, ms, true, args));
expose('clearTimeout', clearTimer);
expose('clearInterval', clearTimer);
