// Alarms: c.alarms sets them by name, c.schedule runs an action later. Both are rows of the same table; the ids of
// c.schedule start with a mark that c.alarms refuses, so that neither is ever mistaken for the other.
const SCHEDULED = '$schedule:';

const wholeNumber = (value, what) => {
  const n = value instanceof PDate ? +value : value;
  if (typeof n !== 'number' || !isFiniteNumber(n)) throw new PTypeError(`${what} must be a number, not ${show(value)}`);
  return `${floor(n)}`;
};

const alarmId = (id) => {
  if (typeof id !== 'string' || id === '') throw new PTypeError('the id of an alarm must be a string that is not empty');
  if (startsWith(id, '$')) throw new PTypeError('the id of an alarm must not start with $');
  return native.quote(id);
};

const setAlarm = (id, when, payload) => call(`{"call":"alarm_set","alarm":${id},${when},"payload":${payload}}`).at;

const alarmRows = () => call('{"call":"alarm_list"}');

const alarms = freeze({
  async set(id, options) {
    const given = options === undefined || options === null ? {} : options;
    const key = alarmId(id);
    if ((given.at === undefined) === (given.after === undefined))
      throw new PTypeError('an alarm needs either at (ms since the epoch) or after (ms from now)');
    const when = given.at === undefined ? `"after":${wholeNumber(given.after, 'after')}` : `"at":${wholeNumber(given.at, 'at')}`;
    return setAlarm(key, when, given.payload === undefined ? 'null' : native.value(given.payload, 0));
  },
  async cancel(id) {
    return call(`{"call":"alarm_cancel","alarm":${alarmId(id)}}`);
  },
  async list() {
    const rows = alarmRows(), found = [];
    for (let i = 0; i < rows.length; i++) {
      if (startsWith(rows[i].alarm, SCHEDULED)) continue;
      append(found, { id: rows[i].alarm, at: rows[i].at, payload: native.revive(rows[i].payload, 1) });
    }
    return found;
  },
});

const HEX = '0123456789abcdef';
const hex = (bytes) => {
  let text = '';
  for (let i = 0; i < bytes.length; i++) text += HEX[bytes[i] >> 4] + HEX[bytes[i] & 15];
  return text;
};

const scheduleAction = (when, action, args) => {
  if (typeof action !== 'string') throw new PTypeError('schedule: the name of an action must be a string');
  if (!mapHas(definition.actions, action)) throw new PTypeError(`schedule: this actor has no action ${show(action)}`);
  const id = `${SCHEDULED}${hex(randomBytes(16))}`;
  setAlarm(native.quote(id), when, `{"action":${native.quote(action)},"args":${native.value(args, 0)}}`);
  return id;
};

const scheduledAction = (row) => {
  const { action, args } = native.revive(row.payload, 1);
  return { id: row.alarm, action, args, runAt: row.at };
};

const schedule = freeze({
  async after(ms, action, ...args) {
    return scheduleAction(`"after":${wholeNumber(ms, 'ms')}`, action, args);
  },
  async at(timestamp, action, ...args) {
    return scheduleAction(`"at":${wholeNumber(timestamp, 'timestamp')}`, action, args);
  },
  async cancel(id) {
    if (typeof id !== 'string' || !startsWith(id, SCHEDULED)) return false;
    return call(`{"call":"alarm_cancel","alarm":${native.quote(id)}}`);
  },
  async get(id) {
    const rows = alarmRows();
    for (let i = 0; i < rows.length; i++) if (rows[i].alarm === id && startsWith(id, SCHEDULED)) return scheduledAction(rows[i]);
    return undefined;
  },
  async list() {
    const rows = alarmRows(), found = [];
    for (let i = 0; i < rows.length; i++) {
      if (startsWith(rows[i].alarm, SCHEDULED)) append(found, scheduledAction(rows[i]));
    }
    return found;
  },
});
