// The one door to the host. Outside of a turn (top-level code of a module) it is shut: what runs there must give the
// same image for every actor of the module.
let inTurn = false;

const needTurn = () => {
  if (inTurn) return;
  throw group(
    new PError('this works only while the actor handles an event, not at the top level of the module'),
    'module', 'module/not_in_turn',
  );
};

const call = (text) => {
  needTurn();
  return native.call(text);
};

const randomBytes = (len) => native.bytes(call(`{"call":"random","len":${len}}`), 1);

// A buffer field of a host call; what it must be is said if it is something else.
const field = (value, what) => {
  const text = native.field(value, 0);
  if (text === undefined) throw new PTypeError(`${what} must be a string, an ArrayBuffer or a view of one`);
  return text;
};
