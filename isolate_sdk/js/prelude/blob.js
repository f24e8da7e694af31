// Blob, File and FormData: bytes with a type, and the two encodings that forms have on the wire.
let blobBytes;

class Blob {
  #bytes;
  #type;
  constructor(parts, options) {
    const list = [];
    if (parts !== undefined) {
      if (!isObject(parts) || typeof parts[Symbol.iterator] !== 'function') throw new PTypeError('a Blob is made of a list of parts');
      for (const part of parts) {
        const bytes = isObject(part) && #bytes in part ? part.#bytes : native.copy(part);
        append(list, bytes === undefined ? native.encode(`${part}`) : bytes);
      }
    }
    this.#bytes = joinBytes(list);
    const type = options && options.type !== undefined ? `${options.type}` : '';
    this.#type = /^[\x20-\x7e]*$/.test(type) ? lower(type) : '';
  }
  get size() { return this.#bytes.length; }
  get type() { return this.#type; }
  async bytes() { return native.copy(this.#bytes); }
  async arrayBuffer() { return bufferOf(native.copy(this.#bytes)); }
  async text() { return native.decode(this.#bytes, 0, this.#bytes.length, false); }
  stream() { return streamOf(native.copy(this.#bytes)); }
  slice(start, end, type) { return new Blob([this.#bytes.slice(start, end)], { type: type === undefined ? '' : type }); }
  static { blobBytes = (value) => (isObject(value) && #bytes in value ? value.#bytes : null); }
}

class File extends Blob {
  #name;
  #lastModified;
  constructor(parts, name, options) {
    if (name === undefined) throw new PTypeError('a File has a name');
    super(parts, options);
    this.#name = `${name}`;
    this.#lastModified = options && options.lastModified !== undefined ? floor(PNumber(options.lastModified)) : now();
  }
  get name() { return this.#name; }
  get lastModified() { return this.#lastModified; }
  get webkitRelativePath() { return ''; }
}

let formRows;

class FormData {
  #rows = [];
  constructor(form) {
    if (form !== undefined) throw new PTypeError('there are no HTML forms here');
  }
  #row(name, value, filename) {
    if (blobBytes(value) === null) return [wellFormed(name), wellFormed(value)];
    if (value instanceof File && filename === undefined) return [wellFormed(name), value];
    return [wellFormed(name), new File([value], filename === undefined ? 'blob' : filename, { type: value.type })];
  }
  append(name, value, filename) { append(this.#rows, this.#row(name, value, filename)); }
  set(name, value, filename) {
    const row = this.#row(name, value, filename), at = this.#rows.findIndex((each) => each[0] === row[0]);
    this.#rows = this.#rows.filter((each, i) => i <= at || each[0] !== row[0]);
    if (at < 0) append(this.#rows, row);
    else this.#rows[at] = row;
  }
  get(name) {
    const found = this.#rows.find((row) => row[0] === `${name}`);
    return found ? found[1] : null;
  }
  getAll(name) { return this.#rows.filter((row) => row[0] === `${name}`).map((row) => row[1]); }
  has(name) { return this.#rows.some((row) => row[0] === `${name}`); }
  delete(name) { this.#rows = this.#rows.filter((row) => row[0] !== `${name}`); }
  forEach(run, self) { for (const [name, value] of this.#rows) apply(run, self, [value, name, this]); }
  *entries() { for (const row of this.#rows) yield [row[0], row[1]]; }
  *keys() { for (const row of this.#rows) yield row[0]; }
  *values() { for (const row of this.#rows) yield row[1]; }
  [Symbol.iterator]() { return this.entries(); }
  static { formRows = (value) => (isObject(value) && #rows in value ? value.#rows : null); }
}

const QUOTED = { __proto__: null, '"': '%22', '\r': '%0D', '\n': '%0A' };
const inHeader = (text) => text.replace(/["\r\n]/g, (char) => QUOTED[char]);
const lineEnds = (text) => text.replace(/\r\n|\r|\n/g, '\r\n');

const formBody = (rows) => {
  const boundary = `----dormice${hex(randomBytes(16))}`, parts = [];
  for (const [name, value] of rows) {
    let head = `--${boundary}\r\nContent-Disposition: form-data; name="${inHeader(lineEnds(name))}"`;
    const bytes = blobBytes(value);
    if (bytes !== null) head += `; filename="${inHeader(value.name)}"\r\nContent-Type: ${value.type || 'application/octet-stream'}`;
    append(parts, native.encode(`${head}\r\n\r\n`));
    append(parts, bytes !== null ? bytes : native.encode(lineEnds(value)));
    append(parts, native.encode('\r\n'));
  }
  append(parts, native.encode(`--${boundary}--\r\n`));
  return { bytes: joinBytes(parts), type: `multipart/form-data; boundary=${boundary}` };
};

// Where `needle` begins in the bytes, -1 if nowhere.
const findBytes = (bytes, needle, from) => {
  for (let i = bytes.indexOf(needle[0], from); i >= 0 && i + needle.length <= bytes.length; i = bytes.indexOf(needle[0], i + 1)) {
    let n = 1;
    while (n < needle.length && bytes[i + n] === needle[n]) n++;
    if (n === needle.length) return i;
  }
  return -1;
};

const badForm = () => new PTypeError('the body is not a form that can be read');

const parameter = (header, name) => {
  const found = new RegExp(`(?:^|;)\\s*${name}=(?:"([^"]*)"|([^;\\s]*))`, 'i').exec(header);
  return found === null ? null : found[1] === undefined ? found[2] : found[1];
};

const unquoted = (text) => text.replace(/%(22|0D|0A)/gi, (_, code) => PString.fromCharCode(parseInt(code, 16)));

const parseMultipart = (bytes, boundary) => {
  const form = new FormData(), mark = native.encode(`--${boundary}`), blank = native.encode('\r\n\r\n');
  const next = native.encode(`\r\n--${boundary}`);
  let at = findBytes(bytes, mark, 0);
  if (at < 0) throw badForm();
  at += mark.length;
  while (!(bytes[at] === 45 && bytes[at + 1] === 45)) {
    const head = findBytes(bytes, blank, at), end = head < 0 ? -1 : findBytes(bytes, next, head + 2);
    if (end < 0) throw badForm();
    const lines = native.decode(bytes, at + 2, head, false).split('\r\n');
    const disposition = lines.find((line) => /^content-disposition:/i.test(line)) || '', type = lines.find((line) => /^content-type:/i.test(line));
    const name = parameter(disposition, 'name'), filename = parameter(disposition, 'filename');
    if (name === null) throw badForm();
    const content = bytes.slice(head + 4, end < head + 4 ? head + 4 : end);
    if (filename === null) form.append(unquoted(name), native.decode(content, 0, content.length, false));
    else form.append(unquoted(name), new File([content], unquoted(filename), { type: type ? type.slice(13).trim() : 'text/plain' }));
    at = end + next.length;
  }
  return form;
};

const parseFormBody = (bytes, type) => {
  const kind = lower(`${type}`.split(';')[0].trim());
  if (kind === 'multipart/form-data') {
    const boundary = parameter(type, 'boundary');
    if (!boundary) throw badForm();
    return parseMultipart(bytes, boundary);
  }
  if (kind !== 'application/x-www-form-urlencoded') throw badForm();
  const form = new FormData();
  for (const [name, value] of parseForm(native.decode(bytes, 0, bytes.length, false))) form.append(name, value);
  return form;
};

expose('Blob', Blob);
expose('File', File);
expose('FormData', FormData);
