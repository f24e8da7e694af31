// URLSearchParams: the form encoding of a query, with a link back to the URL that owns it.
const PLUS_SAFE = /[*\-._0-9A-Za-z]/;

const formDecode = (text) => {
  const plain = text.replaceAll('+', ' ');
  return plain.includes('%') ? percentDecode(plain) : plain;
};

// Percent-encoded bytes of a string; `keep` says which ASCII characters stay.
const percentEncode = (text, keep) => {
  let safe = 0;
  while (safe < text.length && keep(text[safe])) safe++;
  if (safe === text.length) return text;
  const bytes = native.encode(text);
  let out = '';
  for (let i = 0; i < bytes.length; i++) {
    const char = PString.fromCharCode(bytes[i]);
    out += bytes[i] < 128 && keep(char) ? char : `%${upper(HEX[bytes[i] >> 4] + HEX[bytes[i] & 15])}`;
  }
  return out;
};

const percentDecodeBytes = (text) => {
  const bytes = native.encode(text), out = new PUint8Array(bytes.length);
  let n = 0;
  for (let i = 0; i < bytes.length; i++) {
    const pair = bytes[i] === 37 ? PString.fromCharCode(bytes[i + 1], bytes[i + 2]) : '';
    if (/^[0-9a-fA-F]{2}$/.test(pair)) {
      out[n++] = parseInt(pair, 16);
      i += 2;
    } else {
      out[n++] = bytes[i];
    }
  }
  return out.subarray(0, n);
};

const percentDecode = (text) => {
  const bytes = percentDecodeBytes(text);
  return native.decode(bytes, 0, bytes.length, false);
};

const formEncode = (text) => percentEncode(text, (char) => PLUS_SAFE.test(char) || char === ' ').replaceAll(' ', '+');

const parseForm = (query) => {
  const pairs = [];
  for (const part of query.split('&')) {
    if (part === '') continue;
    const at = part.indexOf('=');
    pairs.push(at < 0 ? [formDecode(part), ''] : [formDecode(part.slice(0, at)), formDecode(part.slice(at + 1))]);
  }
  return pairs;
};

const wellFormed = (value) => `${value}`.toWellFormed();

let linkParams, resetParams;

class URLSearchParams {
  #pairs = [];
  #changed = null;
  constructor(init) {
    if (init === undefined || init === null) return;
    if (isObject(init) && typeof init[Symbol.iterator] === 'function') {
      for (const pair of init) {
        const list = [...pair];
        if (list.length !== 2) throw new PTypeError('each parameter must be a pair of name and value');
        this.#pairs.push([wellFormed(list[0]), wellFormed(list[1])]);
      }
    } else if (isObject(init)) {
      for (const name of objectKeys(init)) this.#pairs.push([wellFormed(name), wellFormed(init[name])]);
    } else {
      const text = wellFormed(init);
      this.#pairs = parseForm(text.startsWith('?') ? text.slice(1) : text);
    }
  }
  #update() { if (this.#changed) this.#changed(this.toString()); }
  get size() { return this.#pairs.length; }
  append(name, value) {
    this.#pairs.push([wellFormed(name), wellFormed(value)]);
    this.#update();
  }
  delete(name, value) {
    this.#pairs = this.#pairs.filter((p) => !(p[0] === `${name}` && (value === undefined || p[1] === `${value}`)));
    this.#update();
  }
  get(name) {
    const found = this.#pairs.find((pair) => pair[0] === `${name}`);
    return found ? found[1] : null;
  }
  getAll(name) { return this.#pairs.filter((pair) => pair[0] === `${name}`).map((pair) => pair[1]); }
  has(name, value) {
    return this.#pairs.some((pair) => pair[0] === `${name}` && (value === undefined || pair[1] === `${value}`));
  }
  set(name, value) {
    const key = wellFormed(name), at = this.#pairs.findIndex((pair) => pair[0] === key);
    if (at < 0) {
      this.#pairs.push([key, wellFormed(value)]);
    } else {
      this.#pairs = this.#pairs.filter((pair, i) => i <= at || pair[0] !== key);
      this.#pairs[at] = [key, wellFormed(value)];
    }
    this.#update();
  }
  sort() {
    this.#pairs.sort((a, b) => (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0));
    this.#update();
  }
  forEach(run, self) { for (const [name, value] of this.#pairs) apply(run, self, [value, name, this]); }
  *entries() { for (const pair of this.#pairs) yield [pair[0], pair[1]]; }
  *keys() { for (const pair of this.#pairs) yield pair[0]; }
  *values() { for (const pair of this.#pairs) yield pair[1]; }
  [Symbol.iterator]() { return this.entries(); }
  toString() { return this.#pairs.map((pair) => `${formEncode(pair[0])}=${formEncode(pair[1])}`).join('&'); }
  static {
    linkParams = (params, changed) => { params.#changed = changed; };
    resetParams = (params, query) => { params.#pairs = parseForm(query); };
  }
}

expose('URLSearchParams', URLSearchParams);
