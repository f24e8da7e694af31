// Bodies of requests and responses: bytes, or a stream of them.
const NO_BYTES = new PUint8Array(0);
const TEXT_TYPE = 'text/plain;charset=UTF-8';

// The content (bytes, a stream or null) and the content type of what may be a body.
const bodyOf = (init) => {
  if (init === undefined || init === null) return { content: null, type: null };
  if (typeof init === 'string') return { content: native.encode(init), type: TEXT_TYPE };
  const bytes = native.copy(init);
  if (bytes !== undefined) return { content: bytes, type: null };
  if (init instanceof ReadableStream) {
    if (init.locked || isDisturbed(init)) throw new PTypeError('the stream has been read already');
    return { content: init, type: null };
  }
  if (init instanceof URLSearchParams)
    return { content: native.encode(`${init}`), type: 'application/x-www-form-urlencoded;charset=UTF-8' };
  const blob = blobBytes(init);
  if (blob !== null) return { content: blob, type: init.type === '' ? null : init.type };
  const rows = formRows(init);
  if (rows !== null) {
    const { bytes: content, type } = formBody(rows);
    return { content, type };
  }
  if (typeof init === 'object' && typeof init[Symbol.asyncIterator] === 'function') return { content: ReadableStream.from(init), type: null };
  if (native.classOf(init) === 'other' || native.classOf(init) === 'function')
    throw new PTypeError('a body must be a string, bytes, a stream, a Blob, FormData or URLSearchParams');
  return { content: native.encode(`${init}`), type: TEXT_TYPE };
};

let bodyBytes, collectBody, isStreamed, setBody, teeBody;

class Body {
  #content = null;
  #used = false;
  get bodyUsed() { return this.#used || (this.#content instanceof ReadableStream && isDisturbed(this.#content)); }
  // Made when it is asked for: from then on the body is read through it.
  get body() {
    if (this.#content === null || this.#content instanceof ReadableStream) return this.#content;
    const stream = streamOf(this.#used ? NO_BYTES : this.#content);
    if (this.#used) readStream(stream);
    return (this.#content = stream);
  }
  async #take() {
    const content = this.#content;
    if (this.bodyUsed) throw new PTypeError('the body has been read already');
    if (content === null) return NO_BYTES;
    this.#used = true;
    return content instanceof ReadableStream ? await collect(content) : content;
  }
  async text() {
    const bytes = await this.#take();
    return native.decode(bytes, bytes[0] === 239 && bytes[1] === 187 && bytes[2] === 191 ? 3 : 0, bytes.length, false);
  }
  async json() { return parseJson(await this.text()); }
  async bytes() { return native.copy(await this.#take()); }
  async arrayBuffer() { return bufferOf(native.copy(await this.#take())); }
  async blob() {
    const type = this.headers.get('content-type');
    return new Blob([await this.#take()], { type: type === null ? '' : type });
  }
  async formData() { return parseFormBody(await this.#take(), this.headers.get('content-type')); }
  static {
    setBody = (target, content) => { target.#content = content; };
    // As they are, if they are here; a stream has to be collected first.
    bodyBytes = (target) => {
      if (target.bodyUsed) throw new PTypeError('the body has been read already');
      return target.#content;
    };
    isStreamed = (value) => isObject(value) && #content in value && value.#content instanceof ReadableStream;
    collectBody = async (target) => {
      if (target.#content instanceof ReadableStream) target.#content = await collect(target.#content);
    };
    teeBody = (target) => {
      const content = bodyBytes(target);
      if (!(content instanceof ReadableStream)) return content;
      const [mine, other] = content.tee();
      target.#content = mine;
      return other;
    };
  }
}
