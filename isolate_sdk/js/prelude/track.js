// Tracking of nested state: `c.state` and `conn.state` hand out proxies, so that a change anywhere in the document is
// noticed as it is made, and a turn that changes nothing costs nothing. What is kept is the plain tree behind them: a
// proxy that is put back into a document is taken off first.
//
// A root is {changed(lent), proxies}: `changed` is told of every change, and whether an object came in that the actor
// may still hold by itself and change past its proxy. Its proxies are held weakly, for a loop over a large document would
// leave one for every object in it; the first of a turn are held until its end, for handlers use them again and again.
const tracked = new PWeakMap();  // proxy → its handler
const MOST_HELD = 256;
let held = null, heldCount = 0;

const holdProxy = (proxy) => {
  if (heldCount >= MOST_HELD) return;
  heldCount++;
  held = { __proto__: null, proxy, before: held };
};

const letProxiesGo = () => {
  held = null;
  heldCount = 0;
};

const rawOf = (value) => {
  const handler = isObject(value) ? weakGet(tracked, value) : undefined;
  return handler === undefined ? value : handler.target;
};

const trackedKind = (value) => {
  const kind = native.classOf(value);
  switch (kind) {
    case 'object': case 'array': return TREE;
    case 'map': return MAP;
    case 'set': return SET;
    case 'date': case 'typed': case 'view': case 'buffer': return SLOTS;
    default: return null;
  }
};

// The proxy of an object within a root: always the same one, so that c.state.x === c.state.x.
const trackIn = (root, value) => {
  if (typeof value !== 'object' || value === null) return value;
  const known = weakGet(root.proxies, value);
  const alive = known === undefined ? undefined : deref(known);
  if (alive !== undefined) return alive;
  if (weakGet(tracked, value) !== undefined) return value;
  const kind = trackedKind(value);
  if (kind === null) return value;
  const handler = { __proto__: kind, root, target: value };
  const proxy = new PProxy(value, handler);
  weakSet(tracked, proxy, handler);
  weakSet(root.proxies, value, new PWeakRef(proxy));
  holdProxy(proxy);
  return proxy;
};

const newRoot = (changed) => ({ __proto__: null, changed, proxies: new PWeakMap() });

// Takes the proxies out of a value that comes in: `{...c.state, x}` is a plain object whose members are proxies.
const plainOf = (value, seen = new PMap()) => {
  const raw = rawOf(value);
  if (raw !== value || typeof raw !== 'object' || raw === null || mapHas(seen, raw)) return raw;
  mapSet(seen, raw, true);
  switch (native.classOf(raw)) {
    case 'object': case 'array': {
      const names = objectKeys(raw);
      for (let i = 0; i < names.length; i++) {
        const slot = ownProperty(raw, names[i]);
        if (slot === undefined || !hasOwn(slot, 'value')) continue;
        const plain = plainOf(slot.value, seen);
        if (plain !== slot.value) reflectSet(raw, names[i], plain);
      }
      break;
    }
    case 'map': {
      let changed = false;
      const rows = [];
      mapForEach(raw, (v, k) => {
        const key = plainOf(k, seen), item = plainOf(v, seen);
        changed = changed || key !== k || item !== v;
        append(rows, [key, item]);
      });
      if (!changed) break;
      mapClear(raw);
      for (let i = 0; i < rows.length; i++) mapSet(raw, rows[i][0], rows[i][1]);
      break;
    }
    case 'set': {
      let changed = false;
      const rows = [];
      eachOf(raw, (v) => {
        const item = plainOf(v, seen);
        changed = changed || item !== v;
        append(rows, item);
      });
      if (!changed) break;
      clearSet(raw);
      for (let i = 0; i < rows.length; i++) addTo(raw, rows[i]);
      break;
    }
  }
  return raw;
};

const comesIn = (root, value) => {
  if (typeof value !== 'object' || value === null) {
    root.changed(false);
    return value;
  }
  const plain = plainOf(value);
  root.changed(typeof plain === 'object' && plain !== null);
  return plain;
};

// --- objects and arrays -----------------------------------------------------------------------------------------

// They look for a value by identity, and what the document holds is the plain one.
const SEARCHES = { __proto__: null };
for (const name of ['includes', 'indexOf', 'lastIndexOf']) {
  const search = Array.prototype[name];
  SEARCHES[name] = {
    [name](value, ...from) {
      const list = [rawOf(value)];
      for (let i = 0; i < from.length; i++) append(list, from[i]);
      return apply(search, rawOf(this), list);
    },
  }[name];
}

const TREE = {
  __proto__: null,
  get(target, key, receiver) {
    const value = reflectGet(target, key, receiver);
    if (typeof value === 'object') {
      if (value === null) return null;
      const proxy = trackIn(this.root, value);
      if (proxy === value) return value;
      // What is nailed down must be given out as it is.
      const slot = ownProperty(target, key);
      return slot !== undefined && !slot.configurable && !slot.writable ? value : proxy;
    }
    if (typeof value === 'function' && isArray(target) && typeof key === 'string') return SEARCHES[key] ?? value;
    return value;
  },
  set(target, key, value) { return reflectSet(target, key, comesIn(this.root, value)); },
  defineProperty(target, key, slot) {
    if (hasOwn(slot, 'value')) slot.value = comesIn(this.root, slot.value);
    else this.root.changed(true);
    return reflectDefine(target, key, slot);
  },
  deleteProperty(target, key) {
    this.root.changed(false);
    return reflectDelete(target, key);
  },
};

// --- what keeps its content in slots of its own: methods work on the object itself --------------------------------

const handlerOf = (proxy) => {
  const handler = isObject(proxy) ? weakGet(tracked, proxy) : undefined;
  if (handler === undefined) throw new PTypeError('this method was taken off its object');
  return handler;
};

// Of any other method nothing is known: it counts as a change, and runs on the object itself.
const onTarget = (handler, method) => (...args) => {
  handler.root.changed(true);
  return apply(method, handler.target, args);
};

const slotted = (methods) => ({
  __proto__: null,
  get(target, key) {
    const own = methods[key];
    if (own !== undefined) return own;
    const value = reflectGet(target, key, target);
    return typeof value === 'function' && key !== 'constructor' ? onTarget(this, value) : value;
  },
  set(target, key, value) {
    this.root.changed(false);
    return reflectSet(target, key, value, target);
  },
  defineProperty: TREE.defineProperty,
  deleteProperty: TREE.deleteProperty,
});

const rowsOf = function* (list) { for (let i = 0; i < list.length; i++) yield list[i]; };

const mapRows = (handler, pick) => {
  const rows = [], { root } = handler;
  mapForEach(handler.target, (v, k) => append(rows, pick(trackIn(root, k), trackIn(root, v))));
  return rowsOf(rows);
};

const mapMethods = {
  __proto__: null,
  get(key) {
    const { root, target } = handlerOf(this);
    return trackIn(root, mapGet(target, rawOf(key)));
  },
  has(key) { return mapHas(handlerOf(this).target, rawOf(key)); },
  set(key, value) {
    const { root, target } = handlerOf(this);
    mapSet(target, comesIn(root, key), comesIn(root, value));
    return this;
  },
  delete(key) {
    const { root, target } = handlerOf(this);
    root.changed(false);
    return mapDelete(target, rawOf(key));
  },
  clear() {
    const { root, target } = handlerOf(this);
    root.changed(false);
    mapClear(target);
  },
  forEach(run, self) {
    const { root, target } = handlerOf(this);
    mapForEach(target, (v, k) => { apply(run, self, [trackIn(root, v), trackIn(root, k), this]); });
  },
  keys() { return mapRows(handlerOf(this), (k) => k); },
  values() { return mapRows(handlerOf(this), (_, v) => v); },
  entries() { return mapRows(handlerOf(this), (k, v) => [k, v]); },
};
mapMethods[Symbol.iterator] = mapMethods.entries;

const setRows = (handler, pick) => {
  const rows = [], { root } = handler;
  eachOf(handler.target, (v) => append(rows, pick(trackIn(root, v))));
  return rowsOf(rows);
};

const setMethods = {
  __proto__: null,
  has(value) { return inSet(handlerOf(this).target, rawOf(value)); },
  add(value) {
    const { root, target } = handlerOf(this);
    addTo(target, comesIn(root, value));
    return this;
  },
  delete(value) {
    const { root, target } = handlerOf(this);
    root.changed(false);
    return dropFrom(target, rawOf(value));
  },
  clear() {
    const { root, target } = handlerOf(this);
    root.changed(false);
    clearSet(target);
  },
  forEach(run, self) {
    const { root, target } = handlerOf(this);
    eachOf(target, (v) => { apply(run, self, [trackIn(root, v), trackIn(root, v), this]); });
  },
  values() { return setRows(handlerOf(this), (v) => v); },
  entries() { return setRows(handlerOf(this), (v) => [v, v]); },
};
setMethods.keys = setMethods[Symbol.iterator] = setMethods.values;

const MAP = slotted(mapMethods);
const SET = slotted(setMethods);

// Dates and bytes. Their methods that begin with `set` change them, and a few more of those of bytes.
const CHANGES = { __proto__: null, fill: 1, sort: 1, reverse: 1, copyWithin: 1, subarray: 1, resize: 1, transfer: 1 };

const SLOTS = slotted({ __proto__: null });
SLOTS.get = function (target, key) {
  const value = reflectGet(target, key, target);
  if (typeof value === 'object' && value !== null) {
    this.root.changed(true);  // the buffer of a view: what is written there is not seen
    return value;
  }
  if (typeof value !== 'function' || key === 'constructor') return value;
  if (typeof key === 'string' && (startsWith(key, 'set') || CHANGES[key])) return onTarget(this, value);
  return (...args) => apply(value, target, args);
};
