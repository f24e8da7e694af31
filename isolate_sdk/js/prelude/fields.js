// Which fields actor({…}) has. One that it has not is refused: a hook that is misspelt would never run, and say nothing.
const FIELDS = [
  'state', 'vars', 'connState', 'actions', 'actionInputSchemas', 'connParamsSchema', 'events', 'queues', 'db', 'run',
  'options', 'inspector',
];
const OPTIONS = [
  'actionTimeout', 'sleepTimeout', 'noSleep', 'canHibernateWebSocket', 'createVarsTimeout', 'createConnStateTimeout',
  'onBeforeConnectTimeout', 'onConnectTimeout', 'onMigrateTimeout',
  // RivetKit's own, which mean nothing here
  'sleepGracePeriod', 'onDestroyTimeout', 'waitUntilTimeout', 'stateSaveInterval', 'connectionLivenessTimeout',
  'connectionLivenessInterval', 'maxQueueSize', 'maxQueueMessageSize', 'maxSchedules', 'preloadMaxWorkflowBytes',
  'preloadMaxConnectionsBytes', 'name', 'icon', 'enableActorRuntimeSocket',
];
const FAR = 3, LONGEST_FIELD = 60;

// How many letters have to be added, taken out or changed, without regard to case.
const distance = (a, b) => {
  let row = [];
  for (let j = 0; j <= b.length; j++) append(row, j);
  for (let i = 0; i < a.length; i++) {
    const next = [i + 1];
    for (let j = 0; j < b.length; j++) {
      const change = row[j] + (a[i] === b[j] ? 0 : 1), one = (row[j + 1] < next[j] ? row[j + 1] : next[j]) + 1;
      append(next, change < one ? change : one);
    }
    row = next;
  }
  return row[b.length];
};

const nearest = (name, known) => {
  let best, least = FAR;
  if (name.length > LONGEST_FIELD) return best;
  for (let i = 0; i < known.length; i++) {
    const far = distance(lower(name), lower(known[i]));
    if (far < least) { best = known[i]; least = far; }
  }
  return best;
};

const refuseUnknown = (source, what, known) => {
  const given = objectKeys(source);
  for (let i = 0; i < given.length; i++) {
    let found = false;
    for (let j = 0; j < known.length && !found; j++) found = known[j] === given[i];
    if (found) continue;
    const meant = nearest(given[i], known);
    refuse(`${what} has no field ${slice(given[i], 0, LONGEST_FIELD)}${meant === undefined ? '' : `: is it ${meant}?`}`);
  }
};
