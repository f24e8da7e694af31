// Request and Response.
const METHOD = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

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
    const { content, type } = given.body === undefined && from ? { content: bodyBytes(from), type: null } : bodyOf(given.body);
    if (content !== null && (this.#method === 'GET' || this.#method === 'HEAD'))
      throw new PTypeError(`a ${this.#method} request has no body`);
    setBody(this, content);
    if (type !== null && !this.#headers.has('content-type')) this.#headers.append('content-type', type);
  }
  get method() { return this.#method; }
  get url() { return this.#url; }
  get headers() { return this.#headers; }
  get signal() { return (this.#signal ??= new AbortController().signal); }
  clone() { return receivedRequest(this.#method, this.#url, new Headers(this.#headers), teeBody(this)); }
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
    const { content, type } = bodyOf(body);
    if (content !== null && NULL_BODY.includes(this.#status))
      throw new PTypeError(`a response with status ${this.#status} has no body`);
    setBody(this, content);
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
    const copy = receivedResponse(this.#status, new Headers(this.#headers), teeBody(this), this.#url, this.#redirected);
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
