// structuredClone: the kinds of objects that an actor keeps, cycles included.
const errorKinds = { Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError };

const cannotClone = (what) => new PDOMException(`${what} could not be cloned`, 'DataCloneError');

const cloneInto = (given, seen) => {
  if (typeof given === 'symbol') throw cannotClone('a symbol');
  if (!isObject(given)) return given;
  const value = rawOf(given);
  if (mapHas(seen, value)) return mapGet(seen, value);
  const kind = native.classOf(value);
  const keep = (copy) => {
    mapSet(seen, value, copy);
    return copy;
  };
  switch (kind) {
    case 'function': throw cannotClone('a function');
    case 'other': throw cannotClone('an object of this kind');
    case 'boxed': return keep(Object(value.valueOf()));
    case 'date': return keep(new PDate(+value));
    case 'regexp': return keep(new RegExp(value.source, value.flags));
    case 'buffer': return keep(bufferOf(native.copy(value)));
    case 'typed': return keep(new value.constructor(cloneInto(value.buffer, seen), value.byteOffset, value.length));
    case 'view': return keep(new DataView(cloneInto(value.buffer, seen), value.byteOffset, value.byteLength));
    case 'map': {
      const copy = keep(new PMap());
      mapForEach(value, (v, k) => mapSet(copy, cloneInto(k, seen), cloneInto(v, seen)));
      return copy;
    }
    case 'set': {
      const copy = keep(new Set());
      value.forEach((v) => copy.add(cloneInto(v, seen)));
      return copy;
    }
    case 'error': {
      const Kind = errorKinds[value.name] || Error;
      const copy = keep(new Kind(value.message));
      copy.stack = value.stack;
      if (hasOwn(value, 'cause')) copy.cause = cloneInto(value.cause, seen);
      return copy;
    }
    default: {
      const copy = keep(kind === 'array' ? new PArray(value.length) : {});
      const names = objectKeys(value);
      for (let i = 0; i < names.length; i++)
        defineProperty(copy, names[i], { value: cloneInto(value[names[i]], seen), writable: true, configurable: true, enumerable: true });
      return copy;
    }
  }
};

const structuredCloneOf = (value) => cloneInto(value, new PMap());

expose('structuredClone', structuredCloneOf);
