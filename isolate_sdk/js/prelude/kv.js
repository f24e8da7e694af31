// c.kv: the actor's ordered key-value store. Every call is answered within the turn; the promises are there so that
// tenants write the same code as elsewhere.
const readers = { __proto__: null, text: native.text, binary: native.bytes, arrayBuffer: (f, w) => bufferOf(native.bytes(f, w)) };

const readerOf = (options) => {
  const type = options === undefined || options === null || options.type === undefined ? 'text' : options.type;
  const reader = readers[type];
  if (!reader) throw new PTypeError(`kv: type must be "text", "binary" or "arrayBuffer", not ${show(type)}`);
  return reader;
};

const fieldList = (list, what) => {
  let text = '';
  for (let i = 0; i < list.length; i++) text += (i ? ',' : '') + field(list[i], what);
  return `[${text}]`;
};

const kv = freeze({
  async get(key, options) {
    const read = readerOf(options), batch = isArray(key);
    const found = call(`{"call":"kv_get","keys":${fieldList(batch ? key : [key], 'a key')}}`);
    const values = [];
    for (let i = 0; i < found.length; i++) append(values, found[i] === null ? undefined : read(found[i], 1));
    return batch ? values : values[0];
  },
  async put(key, value) {
    let text = '';
    if (isArray(key) && value === undefined) {
      for (let i = 0; i < key.length; i++)
        text += `${i ? ',' : ''}[${field(key[i][0], 'a key')},${field(key[i][1], 'a value')}]`;
    } else {
      text = `[${field(key, 'a key')},${field(value, 'a value')}]`;
    }
    call(`{"call":"kv_put","entries":[${text}]}`);
  },
  async delete(key) {
    call(`{"call":"kv_delete","keys":${fieldList(isArray(key) ? key : [key], 'a key')}}`);
  },
  async list(prefix, options) {
    const given = options === undefined || options === null ? {} : options;
    const read = readerOf(given), readKey = given.keyType === undefined ? native.text : readerOf({ type: given.keyType });
    let text = '{"call":"kv_list"';
    if (prefix !== undefined && prefix !== null) text += `,"prefix":${field(prefix, 'a prefix')}`;
    if (given.start !== undefined) text += `,"start":${field(given.start, 'start')}`;
    if (given.end !== undefined) text += `,"end":${field(given.end, 'end')}`;
    if (given.reverse) text += ',"reverse":true';
    if (given.limit !== undefined) text += `,"limit":${wholeNumber(given.limit, 'limit')}`;
    const found = call(`${text}}`), entries = [];
    for (let i = 0; i < found.length; i++) append(entries, [readKey(found[i][0], 1), read(found[i][1], 1)]);
    return entries;
  },
  async deleteRange(start, end) {
    call(`{"call":"kv_delete_range","start":${field(start, 'start')},"end":${field(end, 'end')}}`);
  },
  // RivetKit's words for the same. Its batches are of bytes, and have null for what is missing.
  batchPut(entries) { return kv.put(entries); },
  async batchGet(keys) {
    const found = await kv.get(keys, BINARY), values = [];
    for (let i = 0; i < found.length; i++) append(values, found[i] === undefined ? null : found[i]);
    return values;
  },
  batchDelete(keys) { return kv.delete(keys); },
  listPrefix(prefix, options) { return kv.list(prefix, options); },
  listRange(start, end, options) { return kv.list(null, { ...options, start, end }); },
});

const BINARY = { __proto__: null, type: 'binary' };
