// Primordials: what the bridge uses of the language, captured before any tenant code runs. The files behind this one
// keep to it wherever a changed builtin could break more than the tenant's own data: no iteration protocol, no method
// looked up on a shared prototype, and every envelope built as text.
const { apply, ownKeys, get: reflectGet, set: reflectSet, defineProperty: reflectDefine, deleteProperty: reflectDelete } = Reflect;
const { defineProperty, freeze, setPrototypeOf, keys: objectKeys, getPrototypeOf, create: createObject } = Object;
const uncurry = Function.prototype.bind.bind(Function.prototype.call);
const PError = Error, PTypeError = TypeError, PRangeError = RangeError, PMap = Map, PArray = Array, PUint8Array = Uint8Array;
const PPromise = Promise, PProxy = Proxy, PSet = Set, PWeakMap = WeakMap, PWeakRef = WeakRef, PString = String, PNumber = Number, PDate = Date, PDOMException = DOMException;
const isArray = Array.isArray, isInteger = Number.isInteger, isFiniteNumber = Number.isFinite, floor = Math.floor;
const stringify = JSON.stringify, parseJson = JSON.parse, now = Date.now;
const mapGet = uncurry(Map.prototype.get), mapSet = uncurry(Map.prototype.set), mapHas = uncurry(Map.prototype.has);
const mapDelete = uncurry(Map.prototype.delete), mapForEach = uncurry(Map.prototype.forEach);
const weakGet = uncurry(WeakMap.prototype.get), weakSet = uncurry(WeakMap.prototype.set);
const deref = uncurry(WeakRef.prototype.deref);
const setHas = uncurry(WeakSet.prototype.has), setAdd = uncurry(WeakSet.prototype.add);
const mapClear = uncurry(Map.prototype.clear), eachOf = uncurry(Set.prototype.forEach), addTo = uncurry(Set.prototype.add);
const inSet = uncurry(Set.prototype.has), dropFrom = uncurry(Set.prototype.delete), clearSet = uncurry(Set.prototype.clear);
const ownProperty = Object.getOwnPropertyDescriptor;
const slice = uncurry(String.prototype.slice), startsWith = uncurry(String.prototype.startsWith);
const indexOf = uncurry(String.prototype.indexOf), charCodeAt = uncurry(String.prototype.charCodeAt);
const syntaxErrorProto = SyntaxError.prototype;
const lower = uncurry(String.prototype.toLowerCase), upper = uncurry(String.prototype.toUpperCase);
const hasOwn = Object.hasOwn;
const typedProto = getPrototypeOf(Uint8Array.prototype);
const getter = (proto, name) => uncurry(Object.getOwnPropertyDescriptor(proto, name).get);
const sizeOf = getter(Map.prototype, 'size');
const bufferOf = getter(typedProto, 'buffer'), lengthOf = getter(typedProto, 'byteLength');
const setBytes = uncurry(typedProto.set);
const isObject = (v) => (typeof v === 'object' && v !== null) || typeof v === 'function';

// Defines a global as the web does: writable, configurable, not enumerable.
const expose = (name, value) =>
  defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false });

// Appends without looking at setters that someone may have put on Array.prototype.
const append = (list, value) =>
  defineProperty(list, list.length, { value, writable: true, configurable: true, enumerable: true });

const copyList = (list) => {
  const copy = [];
  for (let i = 0; i < list.length; i++) append(copy, list[i]);
  return copy;
};

// The engine carries out `${…}` by calling this method, so it alone is nailed down.
defineProperty(String.prototype, 'concat', { writable: false, configurable: false });
