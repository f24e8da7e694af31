// Crons: c.cron runs an action again and again. The host knows the calendar and the time zones; here are the words.
const cronName = (name) => {
  if (typeof name !== 'string' || name === '') throw new PTypeError('cron: name must be a string that is not empty');
  return native.quote(name);
};

const cronText = (value, what) => {
  if (typeof value !== 'string') throw new PTypeError(`cron: ${what} must be a string, not ${show(value)}`);
  return native.quote(value);
};

const setCron = (given, times) => {
  const name = cronName(given.name), { action, args, maxHistory } = given;
  const quoted = cronText(action, 'action');
  if (!mapHas(definition.actions, action)) throw new PTypeError(`cron: this actor has no action ${show(action)}`);
  if (args !== undefined && !isArray(args)) throw new PTypeError('cron: args must be an array');
  call(
    `{"call":"cron_set","cron":${name},"action":${quoted},${times}` +
      (args === undefined ? '' : `,"args":${native.value(args, 0)}`) +
      (maxHistory === undefined ? '' : `,"history":${wholeNumber(maxHistory, 'maxHistory')}`) + '}',
  );
};

const cronOptions = (options) => {
  if (!isObject(options)) throw new PTypeError('cron: give one object, {name, action, …}');
  return options;
};

const cronJob = (row) => {
  const { action, args } = native.revive(row.payload, 1);
  const job = { name: row.cron, action, args, nextRunAt: row.at, maxHistory: row.history };
  if (hasOwn(row, 'last_at')) job.lastRunAt = row.last_at;
  if (hasOwn(row, 'interval')) {
    job.kind = 'every';
    job.interval = row.interval;
  } else {
    job.kind = 'cron';
    job.expression = row.expression;
    job.timezone = row.time_zone;
  }
  return job;
};

const cronFire = (row) => {
  const fire = {
    action: row.action, scheduledAt: row.scheduled_at, firedAt: row.started_at, finishedAt: row.finished_at, result: row.result,
  };
  if (row.result === 'skipped') {
    fire.count = hasOwn(row, 'number') ? row.number : 1;
    fire.until = row.until;
  } else {
    fire.attempt = hasOwn(row, 'attempt') ? row.attempt : 1;
  }
  if (hasOwn(row, 'error')) fire.error = { group: row.error.group, code: row.error.code, message: row.error.message };
  return fire;
};

const cron = freeze({
  async set(options) {
    const given = cronOptions(options), { expression, timezone } = given;
    const times = `"expression":${cronText(expression, 'expression')}`;
    setCron(given, timezone === undefined ? times : `${times},"time_zone":${cronText(timezone, 'timezone')}`);
  },
  async every(options) {
    const given = cronOptions(options);
    setCron(given, `"interval":${wholeNumber(given.interval, 'interval')}`);
  },
  async get(name) {
    cronName(name);
    const rows = call('{"call":"cron_list"}');
    for (let i = 0; i < rows.length; i++) if (rows[i].cron === name) return cronJob(rows[i]);
    return undefined;
  },
  async list() {
    const rows = call('{"call":"cron_list"}'), found = [];
    for (let i = 0; i < rows.length; i++) append(found, cronJob(rows[i]));
    return found;
  },
  async delete(name) {
    return call(`{"call":"cron_delete","cron":${cronName(name)}}`);
  },
  async history(name, options) {
    const limit = options === undefined || options === null ? undefined : options.limit;
    const rows = call(
      `{"call":"cron_history","cron":${cronName(name)}` +
        (limit === undefined ? '' : `,"limit":${wholeNumber(limit, 'limit')}`) + '}',
    );
    const found = [];
    for (let i = 0; i < rows.length; i++) append(found, cronFire(rows[i]));
    return found;
  },
});

// What an action that runs by itself is told of why: its last argument. The name and `scheduledAt` are the same at every
// attempt of one run, and of no other.
const fireInfo = (ev) => {
  const fire = {
    kind: 'at', id: ev.alarm, scheduledAt: ev.scheduled_at, firedAt: now(), attempt: hasOwn(ev, 'attempt') ? ev.attempt : 1,
  };
  if (hasOwn(ev, 'cron')) {
    fire.kind = ev.kind;
    fire.name = ev.cron;
  }
  return fire;
};
