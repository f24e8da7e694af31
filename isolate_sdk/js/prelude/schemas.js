// Schemas of actions, connection parameters and events: standard schemas (`~standard`), or any object with `parse`.
// The check is carried out at once; a schema that answers with a promise is refused.
const validationError = (what, issues) => bridgeError('actor', 'validation_error', `Invalid ${what}`, { issues });

// What a schema says may hold anything: only what can be sent is.
const issueList = (issues) => {
  const list = [];
  for (let i = 0; isArray(issues) && i < issues.length; i++) {
    const issue = isObject(issues[i]) ? issues[i] : {}, path = [];
    for (let j = 0; isArray(issue.path) && j < issue.path.length; j++) {
      const step = isObject(issue.path[j]) ? issue.path[j].key : issue.path[j];
      append(path, typeof step === 'number' ? step : `${typeof step === 'symbol' ? 'a symbol' : step}`);
    }
    const told = { message: `${issue.message}`, path };
    if (typeof issue.code === 'string') told.code = issue.code;
    append(list, told);
  }
  return list;
};

const sync = (result, what) => {
  if (!isPromiseLike(result)) return result;
  throw new PTypeError(`the schema of ${what} answers with a promise, and it must answer at once`);
};

const checked = (schema, value, what) => {
  const standard = schema['~standard'];
  if (isObject(standard)) {
    const result = sync(standard.validate(value), what);
    if (result.issues) throw validationError(what, issueList(result.issues));
    return result.value;
  }
  if (typeof schema.parse !== 'function') return value;
  let parsed;
  try {
    parsed = schema.parse(value);
  } catch (thrown) {
    const issues = isObject(thrown) && isArray(thrown.issues) ? thrown.issues : [{ message: describeThrown(thrown).title }];
    throw validationError(what, issueList(issues));
  }
  return sync(parsed, what);
};

const isSchema = (value) => isObject(value) && (isObject(value['~standard']) || typeof value.parse === 'function');

const checkedArgs = (schema, name, args) => {
  const value = checked(schema, args, `action \`${name}\` arguments`);
  return isArray(value) ? value : [value];
};

// One argument is checked by itself, several as a list.
const checkedEvent = (name, args) => {
  const declared = mapGet(definition.events, name);
  if (declared === undefined || declared.schema === null) return args;
  const one = args.length <= 1, value = checked(declared.schema, one ? args[0] : args, `event \`${name}\` payload`);
  return !one && isArray(value) ? value : [value];
};
