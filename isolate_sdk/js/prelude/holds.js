// c.keepAwake and c.waitUntil: promises that hold the idle clock, or only the end of a stop. The host knows how many
// there are, not which: a turn tells it at its end, when the counts have changed.
let heldAwake = 0, heldStop = 0, toldAwake = 0, toldStop = 0;

const settleHold = async (promise, what) => {
  try {
    await promise;
  } catch (thrown) {
    logThrown(`a promise given to c.${what} was rejected`, thrown);
  }
};

const holdAwake = async (promise) => {
  heldAwake++;
  await settleHold(promise, 'keepAwake');
  heldAwake--;
};

const holdStop = async (promise) => {
  heldStop++;
  await settleHold(promise, 'waitUntil');
  heldStop--;
};

const tellHolds = () => {
  if (heldAwake === toldAwake && heldStop === toldStop) return;
  call(`{"call":"keep_awake","awake":${heldAwake},"wait":${heldStop}}`);
  toldAwake = heldAwake;
  toldStop = heldStop;
};
