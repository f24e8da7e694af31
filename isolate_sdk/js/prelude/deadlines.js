// Time limits of hooks. One that settles within its turn costs nothing: a timer is set at the end of the turn for
// those that are still in work.
let unlimited = null;

const within = (ms, what, value) => {
  if (!isPromiseLike(value)) return value;
  return new PPromise((resolve, reject) => {
    const watch = { ms, timer: 0, done: false, before: unlimited, fail: () => {
      watch.timer = 0;
      reject(new PError(`${what} did not settle within ${ms} ms`));
    } };
    unlimited = watch;
    passOn(value, resolve, reject, watch);
  });
};

const passOn = async (value, resolve, reject, watch) => {
  try {
    resolve(await value);
  } catch (thrown) {
    reject(thrown);
  }
  watch.done = true;
  if (watch.timer) clearTimer(watch.timer);
};

const armDeadlines = () => {
  for (; unlimited !== null; unlimited = unlimited.before)
    if (!unlimited.done) unlimited.timer = setTimer(unlimited.fail, unlimited.ms, false, []);
};
