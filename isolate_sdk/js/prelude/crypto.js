// Randomness that the host gives out, the frozen clock, and text encodings.
const RANDOM_MAX = 65536;
const DIGESTS = { __proto__: null, 'SHA-1': 0, 'SHA-256': 1, 'SHA-384': 2, 'SHA-512': 3 };

const subtle = freeze({
  async digest(algorithm, data) {
    const name = upper(`${isObject(algorithm) ? algorithm.name : algorithm}`), which = DIGESTS[name];
    if (which === undefined) throw new PDOMException(`${show(name)} is not a digest that is known here`, 'NotSupportedError');
    const bytes = native.digest(which, data);
    if (bytes === undefined) throw new PTypeError('digest takes an ArrayBuffer or a view of one');
    return bufferOf(bytes);
  },
});

expose('crypto', freeze({
  subtle,
  getRandomValues(view) {
    const kind = native.classOf(view);
    if (kind !== 'typed') throw new PTypeError('getRandomValues takes an integer typed array');
    if (view.byteLength > RANDOM_MAX)
      throw new PDOMException(`getRandomValues fills at most ${RANDOM_MAX} bytes at once`, 'QuotaExceededError');
    needTurn();
    if (view.byteLength)
      setBytes(new PUint8Array(view.buffer, view.byteOffset, view.byteLength), randomBytes(view.byteLength));
    return view;
  },
  randomUUID() {
    const b = randomBytes(16);
    b[6] = (b[6] & 15) | 64;
    b[8] = (b[8] & 63) | 128;
    const t = hex(b);
    return `${slice(t, 0, 8)}-${slice(t, 8, 12)}-${slice(t, 12, 16)}-${slice(t, 16, 20)}-${slice(t, 20)}`;
  },
}));

// A number in [0, 1) of the actor's random stream.
const random = () => {
  const b = randomBytes(7);
  return (((b[0] & 31) * 2 ** 48) + b[1] * 2 ** 40 + b[2] * 2 ** 32 + b[3] * 2 ** 24 + b[4] * 65536 + b[5] * 256 + b[6]) / 2 ** 53;
};

expose('performance', freeze({ now: () => now(), timeOrigin: 0 }));

class TextEncoder {
  get encoding() { return 'utf-8'; }
  encode(text) { return native.encode(text === undefined ? '' : `${text}`); }
  encodeInto(text, target) {
    const source = `${text}`;
    let read = 0, written = 0;
    while (read < source.length) {
      const step = source.codePointAt(read) > 65535 ? 2 : 1;
      const bytes = native.encode(slice(source, read, read + step));
      if (written + bytes.length > target.length) break;
      setBytes(target, bytes, written);
      written += bytes.length;
      read += step;
    }
    return { read, written };
  }
}

const UTF8_LABELS = ['utf-8', 'utf8', 'unicode-1-1-utf-8', 'unicode11utf8', 'unicode20utf8', 'x-unicode20utf8'];

// How many bytes at the end begin a sequence that is not complete yet.
const openTail = (bytes) => {
  for (let back = 1; back <= 3 && back <= bytes.length; back++) {
    const b = bytes[bytes.length - back];
    if (b < 128) return 0;
    if (b >= 192) return back < (b >= 240 ? 4 : b >= 224 ? 3 : 2) ? back : 0;
  }
  return 0;
};

class TextDecoder {
  #fatal;
  #ignoreBOM;
  #rest = null;
  #begun = false;
  constructor(label, options) {
    const name = label === undefined ? 'utf-8' : lower(`${label}`.trim());
    if (!UTF8_LABELS.includes(name)) throw new PRangeError(`TextDecoder knows utf-8 only, not ${show(label)}`);
    this.#fatal = !!(options && options.fatal);
    this.#ignoreBOM = !!(options && options.ignoreBOM);
  }
  get encoding() { return 'utf-8'; }
  get fatal() { return this.#fatal; }
  get ignoreBOM() { return this.#ignoreBOM; }
  decode(input, options) {
    const stream = !!(options && options.stream);
    let bytes = input === undefined ? new PUint8Array(0) : native.copy(input);
    if (bytes === undefined) throw new PTypeError('TextDecoder.decode takes an ArrayBuffer or a view of one');
    if (this.#rest) {
      const joined = new PUint8Array(this.#rest.length + bytes.length);
      setBytes(joined, this.#rest, 0);
      setBytes(joined, bytes, this.#rest.length);
      bytes = joined;
    }
    const end = bytes.length - (stream ? openTail(bytes) : 0);
    this.#rest = end < bytes.length ? bytes.slice(end) : null;
    const bom = !this.#ignoreBOM && !this.#begun && bytes[0] === 239 && bytes[1] === 187 && bytes[2] === 191 && end >= 3;
    const text = native.decode(bytes, bom ? 3 : 0, end, this.#fatal);
    this.#begun = stream && (this.#begun || end > 0);
    if (text === null) {
      this.#rest = null;
      this.#begun = false;
      throw new PTypeError('the bytes are not valid UTF-8');
    }
    return text;
  }
}

expose('TextEncoder', TextEncoder);
expose('TextDecoder', TextDecoder);
