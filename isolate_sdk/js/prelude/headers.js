// Headers: a list in the order of arrival, so that duplicates (Set-Cookie) survive the way out.
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const BAD_VALUE = /[\0\r\n]/;

const headerName = (name) => {
  const text = `${name}`;
  if (!TOKEN.test(text)) throw new PTypeError(`${show(text)} is not a name of a header`);
  return lower(text);
};

const headerValue = (value) => {
  const text = `${value}`.replace(/^[\t ]+|[\t ]+$/g, '');
  if (BAD_VALUE.test(text)) throw new PTypeError('the value of a header must not contain a line break');
  return text;
};

let headerPairs, headersFrom;

class Headers {
  #pairs = [];
  constructor(init) {
    if (init === undefined || init === null) return;
    if (isObject(init) && #pairs in init) {
      for (const [name, value] of init.#pairs) this.append(name, value);
    } else if (isObject(init) && typeof init[Symbol.iterator] === 'function') {
      for (const pair of init) {
        const list = [...pair];
        if (list.length !== 2) throw new PTypeError('each header must be a pair of name and value');
        this.append(list[0], list[1]);
      }
    } else if (isObject(init)) {
      for (const name of objectKeys(init)) this.append(name, init[name]);
    } else {
      throw new PTypeError('headers must be an object, a list of pairs or Headers');
    }
  }
  append(name, value) { append(this.#pairs, [headerName(name), headerValue(value)]); }
  set(name, value) {
    const key = headerName(name), text = headerValue(value), at = this.#pairs.findIndex((pair) => pair[0] === key);
    if (at < 0) {
      append(this.#pairs, [key, text]);
      return;
    }
    this.#pairs = this.#pairs.filter((pair, i) => i <= at || pair[0] !== key);
    this.#pairs[at] = [key, text];
  }
  get(name) {
    const key = headerName(name), found = this.#pairs.filter((pair) => pair[0] === key);
    return found.length ? found.map((pair) => pair[1]).join(', ') : null;
  }
  has(name) {
    const key = headerName(name);
    return this.#pairs.some((pair) => pair[0] === key);
  }
  delete(name) {
    const key = headerName(name);
    this.#pairs = this.#pairs.filter((pair) => pair[0] !== key);
  }
  getSetCookie() { return this.#pairs.filter((pair) => pair[0] === 'set-cookie').map((pair) => pair[1]); }
  #sorted() {
    const rows = [], names = [...new Set(this.#pairs.map((pair) => pair[0]))].sort();
    for (const name of names) {
      if (name === 'set-cookie') for (const cookie of this.getSetCookie()) rows.push([name, cookie]);
      else rows.push([name, this.get(name)]);
    }
    return rows;
  }
  forEach(run, self) { for (const [name, value] of this.#sorted()) apply(run, self, [value, name, this]); }
  *entries() { yield* this.#sorted(); }
  *keys() { for (const row of this.#sorted()) yield row[0]; }
  *values() { for (const row of this.#sorted()) yield row[1]; }
  [Symbol.iterator]() { return this.entries(); }
  static {
    headerPairs = (headers) => headers.#pairs;
    // Of pairs that the host sent: they were checked there.
    headersFrom = (pairs) => {
      const headers = new Headers();
      for (let i = 0; i < pairs.length; i++) append(headers.#pairs, [lower(pairs[i][0]), pairs[i][1]]);
      return headers;
    };
  }
}

expose('Headers', Headers);
