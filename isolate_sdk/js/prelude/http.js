// Request and Response with buffered bodies.
const METHOD = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const NO_BYTES = new PUint8Array(0);

// The bytes and the content type of what may be a body.
const bodyOf = (init) => {
  if (init === undefined || init === null) return { bytes: null, type: null };
  if (typeof init === 'string') return { bytes: native.encode(init), type: 'text/plain;charset=UTF-8' };
  if (init instanceof URLSearchParams)
    return { bytes: native.encode(`${init}`), type: 'application/x-www-form-urlencoded;charset=UTF-8' };
  const bytes = native.copy(init);
  if (bytes !== undefined) return { bytes, type: null };
  if (native.classOf(init) === 'other' || native.classOf(init) === 'function')
    throw new PTypeError('a body must be a string, bytes or URLSearchParams: streams are not supported');
  return { bytes: native.encode(`${init}`), type: 'text/plain;charset=UTF-8' };
};

let bodyBytes, setBody;

class Body {
  #bytes = null;
  #used = false;
  get bodyUsed() { return this.#used; }
  get body() { return null; }
  #take() {
    if (this.#used) throw new PTypeError('the body has been read already');
    if (this.#bytes !== null) this.#used = true;
    return this.#bytes === null ? NO_BYTES : this.#bytes;
  }
  async text() {
    const bytes = this.#take();
    return native.decode(bytes, bytes[0] === 239 && bytes[1] === 187 && bytes[2] === 191 ? 3 : 0, bytes.length, false);
  }
  async json() { return parseJson(await this.text()); }
  async bytes() { return native.copy(this.#take()); }
  async arrayBuffer() { return bufferOf(native.copy(this.#take())); }
  async formData() { throw notAvailable('formData()'); }
  async blob() { throw notAvailable('blob()'); }
  static {
    setBody = (target, bytes) => { target.#bytes = bytes; };
    bodyBytes = (target) => {
      if (target.#used) throw new PTypeError('the body has been read already');
      return target.#bytes;
    };
  }
}

// What `received` hands to the constructor instead of arguments; nothing of it is parsed again.
let arrived = null;

class Request extends Body {
  #method = 'GET';
  #url;
  #headers;
  #signal = null;
  constructor(input, init) {
    super();
    if (arrived !== null) {
      this.#method = arrived.method;
      this.#url = arrived.url;
      this.#headers = arrived.headers;
      setBody(this, arrived.bytes);
      return;
    }
    const given = init === undefined || init === null ? {} : init;
    const from = isObject(input) && #url in input ? input : null;
    this.#url = from ? from.#url : new URL(`${input}`).href;
    const method = given.method === undefined ? (from ? from.#method : 'GET') : `${given.method}`;
    if (!METHOD.test(method)) throw new PTypeError(`${show(method)} is not an HTTP method`);
    this.#method = /^(get|head|post|put|delete|options|patch)$/i.test(method) ? upper(method) : method;
    this.#headers = new Headers(given.headers === undefined ? (from ? from.#headers : undefined) : given.headers);
    if (given.signal) this.#signal = given.signal;
    const { bytes, type } = given.body === undefined && from ? { bytes: bodyBytes(from), type: null } : bodyOf(given.body);
    if (bytes !== null && (this.#method === 'GET' || this.#method === 'HEAD'))
      throw new PTypeError(`a ${this.#method} request has no body`);
    setBody(this, bytes);
    if (type !== null && !this.#headers.has('content-type')) this.#headers.append('content-type', type);
  }
  get method() { return this.#method; }
  get url() { return this.#url; }
  get headers() { return this.#headers; }
  get signal() { return (this.#signal ??= new AbortController().signal); }
  clone() { return receivedRequest(this.#method, this.#url, new Headers(this.#headers), bodyBytes(this)); }
  // Of an event: method, path and headers were checked by the host.
  static received(method, url, headers, bytes) {
    arrived = { method, url, headers, bytes };
    try {
      return new Request();
    } finally {
      arrived = null;
    }
  }
}
const receivedRequest = Request.received;
delete Request.received;

const NULL_BODY = [101, 204, 205, 304];
const REDIRECTS = [301, 302, 303, 307, 308];

class Response extends Body {
  #status;
  #statusText;
  #headers;
  #url = '';
  #redirected = false;
  constructor(body, init) {
    super();
    if (arrived !== null) {
      this.#status = arrived.status;
      this.#statusText = '';
      this.#headers = arrived.headers;
      this.#url = arrived.url;
      this.#redirected = arrived.redirected;
      setBody(this, arrived.bytes);
      return;
    }
    const given = init === undefined || init === null ? {} : init;
    this.#status = given.status === undefined ? 200 : PNumber(given.status);
    if (!isInteger(this.#status) || this.#status < 200 || this.#status > 599)
      throw new PRangeError('the status of a response must be an integer from 200 to 599');
    this.#statusText = given.statusText === undefined ? '' : `${given.statusText}`;
    this.#headers = new Headers(given.headers);
    const { bytes, type } = bodyOf(body);
    if (bytes !== null && NULL_BODY.includes(this.#status))
      throw new PTypeError(`a response with status ${this.#status} has no body`);
    setBody(this, bytes);
    if (type !== null && !this.#headers.has('content-type')) this.#headers.append('content-type', type);
  }
  get status() { return this.#status; }
  get statusText() { return this.#statusText; }
  get ok() { return this.#status >= 200 && this.#status < 300; }
  get headers() { return this.#headers; }
  get type() { return 'default'; }
  get url() { return this.#url; }
  get redirected() { return this.#redirected; }
  clone() {
    const copy = receivedResponse(this.#status, new Headers(this.#headers), bodyBytes(this), this.#url, this.#redirected);
    copy.#statusText = this.#statusText;
    return copy;
  }
  // The answer to a fetch: it was checked by the host.
  static received(status, headers, bytes, url, redirected) {
    arrived = { status, headers, bytes: NULL_BODY.includes(status) ? null : bytes, url, redirected };
    try {
      return new Response();
    } finally {
      arrived = null;
    }
  }
  static json(data, init) {
    const given = init === undefined || init === null ? {} : init, headers = new Headers(given.headers);
    const text = stringify(data);
    if (text === undefined) throw new PTypeError('this cannot be sent as JSON');
    if (!headers.has('content-type')) headers.set('content-type', 'application/json');
    return new Response(text, { status: given.status, statusText: given.statusText, headers });
  }
  static redirect(url, status) {
    const code = status === undefined ? 302 : status;
    if (!REDIRECTS.includes(code)) throw new PRangeError(`${show(code)} is not a status of a redirect`);
    return new Response(null, { status: code, headers: [['location', `${url}`]] });
  }
  // The JSON of an HttpReply.
  static reply(response) {
    if (!isObject(response) || !(#status in response))
      throw new PTypeError('onRequest must return a Response');
    const pairs = headerPairs(response.#headers), bytes = bodyBytes(response);
    let headers = '';
    for (let i = 0; i < pairs.length; i++)
      headers += `${i ? ',' : ''}[${native.quote(pairs[i][0])},${native.quote(pairs[i][1])}]`;
    return `{"status":${response.#status},"headers":[${headers}],"body":${bytes === null ? '""' : native.field(bytes, 1)}}`;
  }
}
const replyJson = Response.reply;
delete Response.reply;
const receivedResponse = Response.received;
delete Response.received;

expose('Request', Request);
expose('Response', Response);
