// Logging: c.log and console. At the top level of a module lines go to standard error, since no turn takes them.
const MESSAGE_MAX = 16384;

const show = (value) => {
  if (typeof value === 'string') return value;
  if (!isObject(value)) return typeof value === 'bigint' ? `${value}n` : PString(value);
  if (native.classOf(value) === 'error') {
    const { title, stack } = describeThrown(value);
    return stack ? `${title}\n${stack}` : title;
  }
  if (typeof value === 'function') return '[function]';
  try {
    return native.value(value, 1);
  } catch (_) {
    return '[object that cannot be shown]';
  }
};

const writeLog = (level, message) => {
  const text = message.length > MESSAGE_MAX ? `${slice(message, 0, MESSAGE_MAX)}… (cut)` : message;
  if (!inTurn) {
    native.say(`${level}: ${text}`);
    return;
  }
  try {
    native.call(`{"call":"log","level":"${level}","message":${native.quote(text)}}`);
  } catch (_) {
    // A line that the host does not take must not break the handler that wrote it; the host counts such lines.
  }
};

const logger = (level) => (...parts) => {
  let message = '';
  for (let i = 0; i < parts.length; i++) message += (i ? ' ' : '') + show(parts[i]);
  writeLog(level, message);
};

const log = freeze({ debug: logger('debug'), info: logger('info'), warn: logger('warn'), error: logger('error') });

const logThrown = (what, thrown) => {
  const { title, stack } = describeThrown(thrown);
  writeLog('error', `${what}: ${title}${stack ? `\n${stack}` : ''}`);
};

// Called by the engine at the end of an entry, for each rejected promise that nobody handles.
const rejected = (reason) => logThrown('unhandled promise rejection', reason);

expose('console', {
  debug: log.debug, trace: log.debug, log: log.info, info: log.info, warn: log.warn, error: log.error,
  assert(ok, ...parts) {
    if (!ok) apply(log.error, undefined, ['assertion failed:', ...parts]);
  },
});
