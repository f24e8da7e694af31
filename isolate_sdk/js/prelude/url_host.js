// Hosts of URLs: domains (with punycode for what is not ASCII), IPv4 in all its spellings, IPv6.
const FORBIDDEN_HOST = /[\0-\x20#/:<>?@[\\\]^|]/;
const FORBIDDEN_DOMAIN = /[\0-\x20"#%/:<>?@[\\\]^`{|}\x7f]/;

const badUrl = (text) => new PTypeError(`invalid URL: ${text}`);

// RFC 3492, one label.
const punycode = (label) => {
  const points = PArray.from(label, (char) => char.codePointAt(0));
  let out = points.filter((p) => p < 128).map((p) => PString.fromCharCode(p)).join('');
  let handled = out.length, n = 128, delta = 0, bias = 72;
  const basic = handled;
  if (basic) out += '-';
  const digit = (d) => PString.fromCharCode(d < 26 ? d + 97 : d + 22);
  while (handled < points.length) {
    const next = points.reduce((least, p) => (p >= n && p < least ? p : least), 0x10ffff);
    delta += (next - n) * (handled + 1);
    n = next;
    for (const p of points) {
      if (p < n) delta++;
      if (p !== n) continue;
      let q = delta;
      for (let k = 36; ; k += 36) {
        const t = k <= bias ? 1 : k >= bias + 26 ? 26 : k - bias;
        if (q < t) break;
        out += digit(t + ((q - t) % (36 - t)));
        q = floor((q - t) / (36 - t));
      }
      out += digit(q);
      delta = floor(delta / (handled === basic ? 700 : 2));
      delta += floor(delta / (handled + 1));
      let k = 0;
      for (; delta > 455; k += 36) delta = floor(delta / 35);
      bias = k + floor((36 * delta) / (delta + 38));
      delta = 0;
      handled++;
    }
    delta++;
    n++;
  }
  return `xn--${out}`;
};

const ipv4Number = (part) => {
  if (part === '') return NaN;
  if (/^0x[0-9a-f]*$/i.test(part)) return part.length === 2 ? 0 : parseInt(part, 16);
  if (/^0[0-7]*$/.test(part)) return parseInt(part, 8);
  return /^[1-9][0-9]*$/.test(part) ? PNumber(part) : NaN;
};

// The dotted form if the domain ends in a number, else null.
const ipv4 = (domain, text) => {
  const parts = domain.split('.');
  if (parts.length > 1 && parts[parts.length - 1] === '') parts.pop();
  const last = parts[parts.length - 1];
  if (!/^[0-9]+$/.test(last) && !/^0x[0-9a-f]*$/i.test(last)) return null;
  const numbers = parts.map(ipv4Number), tail = numbers.pop();
  if (parts.length > 4 || numbers.some((n) => !(n <= 255)) || !(tail < 256 ** (4 - numbers.length))) throw badUrl(text);
  const whole = numbers.reduce((sum, n, i) => sum + n * 256 ** (3 - i), tail);
  return [24, 16, 8, 0].map((shift) => floor(whole / 2 ** shift) % 256).join('.');
};

const ipv6 = (inner, text) => {
  const halves = inner.split('::');
  if (halves.length > 2) throw badUrl(text);
  const pieces = (half) => {
    if (half === '') return [];
    const parts = half.split(':'), last = parts[parts.length - 1], out = [];
    if (last.includes('.')) {
      if (!/^(25[0-5]|2[0-4]\d|1?\d?\d)(\.(25[0-5]|2[0-4]\d|1?\d?\d)){3}$/.test(last)) throw badUrl(text);
      const b = last.split('.').map(PNumber);
      parts.splice(-1, 1, (b[0] * 256 + b[1]).toString(16), (b[2] * 256 + b[3]).toString(16));
    }
    for (const part of parts) {
      if (!/^[0-9a-f]{1,4}$/i.test(part)) throw badUrl(text);
      out.push(parseInt(part, 16));
    }
    return out;
  };
  const head = pieces(halves[0]), tail = halves.length === 2 ? pieces(halves[1]) : [];
  const gap = 8 - head.length - tail.length;
  if (halves.length === 2 ? gap < 1 : gap !== 0) throw badUrl(text);
  const all = [...head, ...new PArray(gap).fill(0), ...tail];
  let from = -1, len = 1;
  for (let i = 0; i < 8; i++) {
    let n = 0;
    while (i + n < 8 && all[i + n] === 0) n++;
    if (n > len) [from, len] = [i, n];
  }
  const show16 = (list) => list.map((n) => n.toString(16)).join(':');
  return from < 0 ? show16(all) : `${show16(all.slice(0, from))}::${show16(all.slice(from + len))}`;
};

const parseHost = (host, special, text) => {
  if (host.startsWith('[')) {
    if (!host.endsWith(']')) throw badUrl(text);
    return `[${ipv6(host.slice(1, -1), text)}]`;
  }
  if (!special) {
    if (FORBIDDEN_HOST.test(host)) throw badUrl(text);
    return percentEncode(host, (char) => char > '\x1f' && char < '\x7f');
  }
  const decoded = percentDecode(host).normalize('NFKC').toLowerCase().replace(/[\u3002\uff0e\uff61]/g, '.').replaceAll('\u00ad', '');
  const domain = decoded.split('.').map((label) => (/^[\0-\x7f]*$/.test(label) ? label : punycode(label))).join('.');
  if (domain === '' || FORBIDDEN_DOMAIN.test(domain)) throw badUrl(text);
  return ipv4(domain, text) || domain;
};
