// Errors in both directions: what a handler throws becomes a CallError, what the host answers becomes an Error.

const group = (error, groupName, code, metadata) => {
  defineProperty(error, 'group', { value: groupName, writable: true, configurable: true });
  defineProperty(error, 'code', { value: code, writable: true, configurable: true });
  if (metadata !== undefined) defineProperty(error, 'metadata', { value: metadata, writable: true, configurable: true });
  return error;
};

class RivetError extends Error {
  constructor(groupName, code, message, options) {
    const given = isObject(options) ? options : {};
    super(message, hasOwn(given, 'cause') ? { cause: given.cause } : undefined);
    group(this, `${groupName}`, `${code}`, given.metadata);
  }
}
defineProperty(RivetError.prototype, 'name', { value: 'RivetError', writable: true, configurable: true });

class UserError extends RivetError {
  #user = true;
  constructor(message, options) {
    const given = options === undefined || options === null ? {} : options;
    super('user', given.code === undefined ? 'user_error' : given.code, message, given);
  }
  static is(value) {
    return isObject(value) && #user in value;
  }
}
const isUserError = UserError.is;
delete UserError.is;
defineProperty(UserError.prototype, 'name', { value: 'UserError', writable: true, configurable: true });

// Errors that the prelude itself raises towards the caller of an event, such as an unknown action.
const bridgeErrors = new WeakSet();
const bridgeError = (groupName, code, message, metadata) => {
  const error = group(new PError(message), groupName, code, metadata);
  setAdd(bridgeErrors, error);
  return error;
};

const notAvailable = (what) => group(new PError(`${what} is not available yet`), 'guest', 'not_available');

const callFailures = {
  __proto__: null,
  '-1': ['malformed_call', 'the host did not understand the call'],
  '-2': ['not_granted', 'the module was not granted the capability that this needs: list it in the manifest'],
  '-3': ['budget', 'the turn made more host calls, or longer ones, than it may'],
  '-4': ['too_large', 'the call is larger than the host takes'],
  '-5': ['no_reply', 'the host kept no reply'],
};

// Called by the engine: a negative number, or the error of an answer.
const hostError = (what) => {
  if (typeof what === 'number') {
    const known = callFailures[what] || ['host_call_failed', `a host call failed with ${what}`];
    return group(new PError(known[1]), 'guest', known[0]);
  }
  const metadata = hasOwn(what, 'metadata') ? native.revive(what.metadata, 1) : undefined;
  return group(new PError(`${what.message}`), what.group, what.code, metadata);
};

// Never throws, whatever was thrown.
const describeThrown = (thrown) => {
  try {
    if (!isObject(thrown)) return { title: `${typeof thrown === 'symbol' ? 'a symbol' : thrown}`, stack: '' };
    const name = thrown.name, message = thrown.message, stack = thrown.stack;
    const title = message === undefined || message === '' ? `${name}` : `${name === undefined ? 'Error' : name}: ${message}`;
    return { title, stack: typeof stack === 'string' ? stack : '' };
  } catch (_) {
    return { title: 'an error that cannot be read', stack: '' };
  }
};

// The JSON of a CallError. Only the group `user` reaches clients as it is; the host masks and logs the rest.
const errorJson = (thrown) => {
  if (isUserError(thrown) || (isObject(thrown) && setHas(bridgeErrors, thrown))) {
    try {
      const start = `{"group":${native.quote(isUserError(thrown) ? 'user' : `${thrown.group}`)},"code":${native.quote(`${thrown.code}`)}`;
      const metadata = thrown.metadata === undefined ? '' : `,"metadata":${native.value(thrown.metadata, 0)}`;
      return `${start},"message":${native.quote(`${thrown.message}`)}${metadata}}`;
    } catch (error) {
      return errorJson(new PTypeError(`a UserError that cannot be sent: ${describeThrown(error).title}`));
    }
  }
  const { title, stack } = describeThrown(thrown);
  return `{"group":"internal","code":"internal_error","message":${native.quote(title)},"metadata":{"stack":${native.quote(stack)}}}`;
};

// Reads `line:column`, by hand: a tenant may have changed what regular expressions do.
const positionAt = (text, from) => {
  let i = from, line = 0, column = 0;
  for (let d = digitAt(text, i); d >= 0; d = digitAt(text, ++i)) line = line * 10 + d;
  for (let d = digitAt(text, ++i); d >= 0; d = digitAt(text, ++i)) column = column * 10 + d;
  return { line, column };
};

const digitAt = (text, i) => {
  const code = i < text.length ? charCodeAt(text, i) - 48 : -1;
  return code >= 0 && code <= 9 ? code : -1;
};

// Called by the engine when a module does not load: the JSON of {"error": …}.
const describe = (code, thrown) => {
  const { title, stack } = describeThrown(thrown);
  let kind = code, line = null, column = null;
  if (isObject(thrown) && thrown.code === 'no_actor') kind = 'no_actor';
  else if (code === 'js_syntax' && !(isObject(thrown) && getPrototypeOf(thrown) === syntaxErrorProto)) kind = 'js_threw';
  const at = indexOf(stack, 'actor.js:');
  if (at >= 0) {
    const found = positionAt(stack, at + 9);
    line = found.line;
    column = found.column;
  }
  return `{"error":{"code":"${kind}","message":${native.quote(title)},"line":${line},"column":${column},"stack":${native.quote(stack)}}}`;
};
