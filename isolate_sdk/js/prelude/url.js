// URL: the parser of the web's URL standard for what an actor meets (file URLs without drive letters).
const SPECIAL = { __proto__: null, 'http:': '80', 'https:': '443', 'ws:': '80', 'wss:': '443', 'ftp:': '21', 'file:': '' };

const keepAll = (extra) => (char) => char > ' ' && char < '\x7f' && !extra.includes(char);
const keepFragment = keepAll('"<>`');
const keepQuery = keepAll('"#<>');
const keepSpecialQuery = keepAll('"#<>\'');
const keepPath = keepAll('"#<>?^`{}');
const keepUser = keepAll('"#<>?^`{}/:;=@[\\]|');
const keepOpaque = (char) => char >= ' ' && char < '\x7f';

const SINGLE_DOT = /^(\.|%2e)$/i;
const DOUBLE_DOT = /^(\.|%2e){2}$/i;

const parseAuthority = (url, text, input) => {
  const at = text.lastIndexOf('@');
  if (at >= 0) {
    const user = text.slice(0, at), colon = user.indexOf(':');
    url.username = percentEncode(colon < 0 ? user : user.slice(0, colon), keepUser);
    url.password = colon < 0 ? '' : percentEncode(user.slice(colon + 1), keepUser);
  }
  const rest = text.slice(at + 1), port = /:([^\]:]*)$/.exec(rest), special = url.protocol in SPECIAL;
  const host = port ? rest.slice(0, port.index) : rest;
  if (special && host === '' && url.protocol !== 'file:') throw badUrl(input);
  if (host === '' && (at >= 0 || port)) throw badUrl(input);
  url.host = host === '' ? '' : parseHost(host, special, input);
  if (url.protocol === 'file:' && url.host === 'localhost') url.host = '';
  if (port) url.port = parsePort(port[1], url.protocol, input);
};

const parsePort = (text, protocol, input) => {
  if (!/^[0-9]*$/.test(text) || PNumber(text) > 65535) throw badUrl(input);
  return text === '' || `${PNumber(text)}` === SPECIAL[protocol] ? '' : `${PNumber(text)}`;
};

const parsePath = (url, text, above) => {
  const special = url.protocol in SPECIAL, path = above;
  const parts = text.split(special ? /[/\\]/ : '/');
  parts.forEach((part, i) => {
    const last = i === parts.length - 1;
    if (DOUBLE_DOT.test(part)) {
      path.pop();
      if (last) path.push('');
    } else if (SINGLE_DOT.test(part)) {
      if (last) path.push('');
    } else {
      path.push(percentEncode(part, keepPath));
    }
  });
  url.path = path;
};

const copyOf = (url) => ({ ...url, path: isArray(url.path) ? [...url.path] : url.path });

const parseUrl = (given, base) => {
  const input = wellFormed(given).replace(/^[\0-\x20]+|[\0-\x20]+$/g, '').replace(/[\t\n\r]/g, '');
  let rest = input, fragment = null, query = null, url;
  const hash = rest.indexOf('#');
  if (hash >= 0) [rest, fragment] = [rest.slice(0, hash), percentEncode(rest.slice(hash + 1), keepFragment)];
  const scheme = /^([a-zA-Z][a-zA-Z0-9+.-]*):/.exec(rest);
  const protocol = scheme ? lower(scheme[0]) : base ? base.protocol : null;
  if (protocol === null) throw badUrl(given);
  const special = protocol in SPECIAL;
  if (scheme) rest = rest.slice(scheme[0].length);
  const mark = rest.indexOf('?');
  if (mark >= 0) [rest, query] = [rest.slice(0, mark), percentEncode(rest.slice(mark + 1), special ? keepSpecialQuery : keepQuery)];
  const slashes = special ? rest.replaceAll('\\', '/') : rest;
  const relative = !scheme || (special && base && base.protocol === protocol && !slashes.startsWith('/'));
  const fresh = { protocol, username: '', password: '', host: null, port: '', path: [], query, fragment };

  if (relative && typeof base.path === 'string') {
    if (scheme || rest !== '' || query !== null || fragment === null) throw badUrl(given);
    url = { ...base };
  } else if (relative && !slashes.startsWith('//')) {
    url = { ...copyOf(base), query };
    if (rest === '') {
      if (query === null) url.query = base.query;
    } else if (slashes.startsWith('/')) {
      parsePath(url, rest.slice(1), []);
    } else {
      parsePath(url, rest, url.path.slice(0, -1));
    }
  } else if (slashes.startsWith('//') || (special && protocol !== 'file:')) {
    url = fresh;
    const from = protocol === 'file:' || !special ? 2 : /^\/*/.exec(slashes)[0].length;
    const end = slashes.indexOf('/', from);
    parseAuthority(url, rest.slice(from, end < 0 ? undefined : end), given);
    if (end >= 0) parsePath(url, rest.slice(end + 1), []);
    else if (special) url.path = [''];
  } else {
    url = fresh;
    if (special) url.host = '';
    if (special || slashes.startsWith('/')) parsePath(url, slashes.startsWith('/') ? rest.slice(1) : rest, []);
    else url.path = percentEncode(rest, keepOpaque);
  }
  url.fragment = fragment;
  return url;
};

const pathText = (url) => (typeof url.path === 'string' ? url.path : url.path.length ? `/${url.path.join('/')}` : '');

const hostText = (url) => (url.host === null ? '' : url.port === '' ? url.host : `${url.host}:${url.port}`);

const urlText = (url) => {
  let text = url.protocol;
  if (url.host !== null) {
    text += '//';
    if (url.username || url.password) text += `${url.username}${url.password ? `:${url.password}` : ''}@`;
    text += hostText(url);
  } else if (isArray(url.path) && url.path.length > 1 && url.path[0] === '') {
    text += '/.';
  }
  return text + pathText(url) + (url.query === null ? '' : `?${url.query}`) + (url.fragment === null ? '' : `#${url.fragment}`);
};

class URL {
  #url;
  #params = null;
  constructor(input, base) {
    this.#url = parseUrl(input, base === undefined ? null : parseUrl(`${base}`, null));
  }
  static canParse(input, base) { return URL.parse(input, base) !== null; }
  static parse(input, base) {
    try {
      return new URL(input, base);
    } catch (_) {
      return null;
    }
  }
  // As the standard has it, a setter that gets nonsense changes nothing.
  #try(change) {
    const url = copyOf(this.#url);
    try {
      change(url);
    } catch (_) {
      return;
    }
    this.#url = url;
  }
  #resetParams() { if (this.#params) resetParams(this.#params, this.#url.query || ''); }
  get href() { return urlText(this.#url); }
  set href(text) {
    this.#url = parseUrl(`${text}`, null);
    this.#resetParams();
  }
  get origin() {
    const { protocol } = this.#url;
    return protocol in SPECIAL && protocol !== 'file:' ? `${protocol}//${this.host}` : 'null';
  }
  get protocol() { return this.#url.protocol; }
  set protocol(text) {
    const found = /^([a-zA-Z][a-zA-Z0-9+.-]*)(:|$)/.exec(`${text}`);
    if (!found) return;
    const protocol = `${lower(found[1])}:`, url = this.#url;
    if (protocol in SPECIAL !== url.protocol in SPECIAL) return;
    url.protocol = protocol;
    if (url.port === SPECIAL[protocol]) url.port = '';
  }
  get username() { return this.#url.username; }
  set username(text) { if (this.#url.host) this.#url.username = percentEncode(`${text}`, keepUser); }
  get password() { return this.#url.password; }
  set password(text) { if (this.#url.host) this.#url.password = percentEncode(`${text}`, keepUser); }
  get host() { return hostText(this.#url); }
  set host(text) {
    if (typeof this.#url.path === 'string') return;
    this.#try((url) => {
      const { username, password, port } = url;
      parseAuthority(url, `${text}`.replace(/[/?#\\].*$/s, '').replaceAll('@', '%40'), text);
      Object.assign(url, { username, password });
      if (!/:[0-9]+$/.test(`${text}`)) url.port = port;
    });
  }
  get hostname() { return this.#url.host === null ? '' : this.#url.host; }
  set hostname(text) {
    if (typeof this.#url.path === 'string') return;
    this.#try((url) => {
      const name = `${text}`.replace(/[/?#\\].*$/s, '');
      if (name === '' && url.protocol in SPECIAL) throw badUrl(text);
      url.host = parseHost(name, url.protocol in SPECIAL, text);
    });
  }
  get port() { return this.#url.port; }
  set port(text) {
    if (!this.#url.host || this.#url.protocol === 'file:') return;
    const digits = /^[0-9]*/.exec(`${text}`)[0];
    if (digits === '' && `${text}` !== '') return;
    this.#try((url) => { url.port = parsePort(digits, url.protocol, text); });
  }
  get pathname() { return pathText(this.#url); }
  set pathname(text) {
    if (typeof this.#url.path === 'string') return;
    this.#try((url) => parsePath(url, `${text}`.replace(url.protocol in SPECIAL ? /^[/\\]/ : /^\//, ''), []));
  }
  get search() { return this.#url.query ? `?${this.#url.query}` : ''; }
  set search(text) {
    const query = `${text}`.replace(/^\?/, '');
    this.#url.query = `${text}` === '' ? null : percentEncode(query, this.#url.protocol in SPECIAL ? keepSpecialQuery : keepQuery);
    this.#resetParams();
  }
  get searchParams() {
    if (!this.#params) {
      this.#params = new URLSearchParams();
      this.#resetParams();
      linkParams(this.#params, (query) => { this.#url.query = query === '' ? null : query; });
    }
    return this.#params;
  }
  get hash() { return this.#url.fragment ? `#${this.#url.fragment}` : ''; }
  set hash(text) {
    this.#url.fragment = `${text}` === '' ? null : percentEncode(`${text}`.replace(/^#/, ''), keepFragment);
  }
  toString() { return this.href; }
  toJSON() { return this.href; }
}

expose('URL', URL);
