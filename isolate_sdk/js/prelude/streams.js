// ReadableStream, for bodies: what is put in comes out in order. There is no writable side, and a byte stream is read
// like any other.
let newReader = false, readStream, isDisturbed;

class ReadableStream {
  #source;
  #room;
  #queue = [];
  #waiting = [];  // reads that came before their chunk
  #state = 'readable';
  #error;
  #reader = null;
  #disturbed = false;
  #started = false;
  #pulling = false;
  #controller;
  #ends = [];
  constructor(source, strategy) {
    this.#source = source === undefined || source === null ? {} : source;
    const wanted = strategy && strategy.highWaterMark !== undefined ? PNumber(strategy.highWaterMark) : 1;
    if (!(wanted >= 0)) throw new PRangeError('highWaterMark must be a number that is not negative');
    this.#room = wanted;
    const self = this;
    this.#controller = freeze({
      enqueue(chunk) { self.#enqueue(chunk); },
      close() { self.#close(); },
      error(reason) { self.#fail(reason); },
      get desiredSize() { return self.#state === 'errored' ? null : self.#state === 'closed' ? 0 : self.#room - self.#queue.length; },
      get byobRequest() { return null; },
    });
    const begun = typeof this.#source.start === 'function' ? this.#source.start(this.#controller) : undefined;
    this.#begin(begun);
  }
  get locked() { return this.#reader !== null; }
  async #begin(begun) {
    try {
      await begun;
      this.#started = true;
      this.#pull();
    } catch (thrown) {
      this.#fail(thrown);
    }
  }
  async #pull() {
    const wanted = this.#waiting.length > 0 || this.#queue.length < this.#room;
    if (!this.#started || this.#pulling || this.#state !== 'readable' || !wanted || typeof this.#source.pull !== 'function') return;
    this.#pulling = true;
    const before = this.#queue.length + this.#waiting.length;
    try {
      await this.#source.pull(this.#controller);
    } catch (thrown) {
      this.#fail(thrown);
    }
    this.#pulling = false;
    // A pull that gave nothing is not repeated until somebody asks again.
    if (this.#queue.length + this.#waiting.length !== before || this.#state !== 'readable') this.#pull();
  }
  #enqueue(chunk) {
    if (this.#state !== 'readable' || this.#ending) throw new PTypeError('the stream is closed');
    const waits = this.#waiting.shift();
    if (waits) waits.resolve({ value: chunk, done: false });
    else append(this.#queue, chunk);
  }
  #ending = false;
  #close() {
    if (this.#state !== 'readable' || this.#ending) throw new PTypeError('the stream is closed');
    this.#ending = true;
    if (this.#queue.length === 0) this.#finish();
  }
  #finish() {
    this.#state = 'closed';
    for (const waits of this.#waiting.splice(0)) waits.resolve({ value: undefined, done: true });
    for (const end of this.#ends.splice(0)) end.resolve();
  }
  #fail(reason) {
    if (this.#state !== 'readable') return;
    this.#state = 'errored';
    this.#error = reason;
    this.#queue = [];
    for (const waits of this.#waiting.splice(0)) waits.reject(reason);
    for (const end of this.#ends.splice(0)) end.reject(reason);
  }
  #read() {
    this.#disturbed = true;
    if (this.#queue.length > 0) {
      const value = this.#queue.shift();
      if (this.#ending && this.#queue.length === 0) this.#finish();
      else this.#pull();
      return PPromise.resolve({ value, done: false });
    }
    if (this.#state === 'closed') return PPromise.resolve({ value: undefined, done: true });
    if (this.#state === 'errored') return PPromise.reject(this.#error);
    return new PPromise((resolve, reject) => {
      append(this.#waiting, { resolve, reject });
      this.#pull();
    });
  }
  async #cancel(reason) {
    this.#disturbed = true;
    if (this.#state === 'errored') throw this.#error;
    if (this.#state === 'closed') return;
    this.#queue = [];
    this.#finish();
    if (typeof this.#source.cancel === 'function') await this.#source.cancel(reason);
  }
  getReader(options) {
    if (options && options.mode !== undefined) throw new PTypeError('a byte reader is not available: use getReader()');
    if (this.#reader !== null) throw new PTypeError('the stream is locked by another reader');
    newReader = true;
    const closed = new PPromise((resolve, reject) => {
      if (this.#state === 'closed') resolve();
      else if (this.#state === 'errored') reject(this.#error);
      else append(this.#ends, { resolve, reject });
    });
    closed.catch(() => {});
    return (this.#reader = new ReadableStreamDefaultReader(
      closed, () => this.#read(), (reason) => this.#cancel(reason), () => { this.#reader = null; },
    ));
  }
  cancel(reason) {
    return this.#reader === null ? this.#cancel(reason) : PPromise.reject(new PTypeError('the stream is locked by a reader'));
  }
  tee() {
    const reader = this.getReader(), sides = [];
    const pull = async () => {
      const { value, done } = await reader.read();
      for (const side of sides) {
        if (side.left) continue;
        if (done) side.controller.close();
        else side.controller.enqueue(value);
      }
    };
    const side = () => {
      const one = { controller: null, left: false };
      append(sides, one);
      return new ReadableStream({
        start(controller) { one.controller = controller; },
        pull,
        cancel(reason) {
          one.left = true;
          return sides.every((each) => each.left) ? reader.cancel(reason) : undefined;
        },
      }, { highWaterMark: 0 });
    };
    return [side(), side()];
  }
  async *values(options) {
    const reader = this.getReader();
    try {
      for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value;
    } finally {
      if (!(options && options.preventCancel) && this.#state === 'readable') await this.#cancel();
      reader.releaseLock();
    }
  }
  [Symbol.asyncIterator](options) { return this.values(options); }
  static from(source) {
    const list = source[Symbol.asyncIterator] ? source[Symbol.asyncIterator]() : source[Symbol.iterator]();
    return new ReadableStream({
      async pull(controller) {
        const { value, done } = await list.next();
        if (done) controller.close();
        else controller.enqueue(await value);
      },
      cancel(reason) { return list.return ? list.return(reason) : undefined; },
    }, { highWaterMark: 0 });
  }
  static {
    readStream = (stream) => {
      if (stream.#reader !== null || stream.#disturbed) throw new PTypeError('the body has been read already');
      return stream.getReader();
    };
    isDisturbed = (stream) => stream.#disturbed;
  }
}

class ReadableStreamDefaultReader {
  #closed;
  #read;
  #cancel;
  #release;
  constructor(closed, read, cancel, release) {
    if (!newReader) throw new PTypeError('a reader comes from getReader()');
    newReader = false;
    this.#closed = closed;
    this.#read = read;
    this.#cancel = cancel;
    this.#release = release;
  }
  #held() {
    if (this.#release === null) throw new PTypeError('the reader has been released');
  }
  get closed() { return this.#closed; }
  async read() {
    this.#held();
    return await this.#read();
  }
  async cancel(reason) {
    this.#held();
    return await this.#cancel(reason);
  }
  releaseLock() {
    if (this.#release !== null) this.#release();
    this.#release = null;
  }
}

const streamOf = (bytes) => new ReadableStream({
  start(controller) {
    if (bytes.length) controller.enqueue(bytes);
    controller.close();
  },
});

const joinBytes = (parts) => {
  let size = 0, at = 0;
  for (let i = 0; i < parts.length; i++) size += parts[i].length;
  const joined = new PUint8Array(size);
  for (let i = 0; i < parts.length; i++) {
    setBytes(joined, parts[i], at);
    at += parts[i].length;
  }
  return joined;
};

const collect = async (stream) => {
  const reader = readStream(stream), parts = [];
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    const bytes = native.copy(next.value);
    if (bytes === undefined) {
      await reader.cancel();
      throw new PTypeError('the stream of a body must give bytes');
    }
    append(parts, bytes);
  }
  return joinBytes(parts);
};

expose('ReadableStream', ReadableStream);
