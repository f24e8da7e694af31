// fetch: a request to the outside as a call of the host, which decides where it may go.
const REDIRECT_MODES = ['follow', 'error', 'manual'];

// As everywhere, what goes wrong on the way is a TypeError; group and code say what it was.
const fetchError = (what) => {
  const metadata = hasOwn(what, 'metadata') ? native.revive(what.metadata, 0) : undefined;
  return group(new PTypeError(`fetch: ${what.message}`), what.group, what.code, metadata);
};

const fetchedResponse = (ev) => {
  const { status, headers, url, redirected } = ev.result;
  const bytes = hasOwn(ev, 'body') ? native.bytes(ev.body, 0) : null;
  return receivedResponse(status, headersFrom(headers), bytes, url, redirected);
};

const fetchOutside = async (input, init) => {
  needTurn();
  const request = new Request(input, init), options = given(init);
  const redirect = options.redirect === undefined ? 'follow' : options.redirect;
  if (!REDIRECT_MODES.includes(redirect)) throw new PTypeError('redirect must be follow, error or manual');
  await collectBody(request);
  const pairs = headerPairs(request.headers), bytes = bodyBytes(request);
  let headers = '';
  for (let i = 0; i < pairs.length; i++)
    headers += `${i ? ',' : ''}[${native.quote(pairs[i][0])},${native.quote(pairs[i][1])}]`;
  return await defer(
    `{"call":"fetch","url":${native.quote(request.url)},"method":${native.quote(request.method)},"headers":[${headers}]` +
      `,"body":${bytes === null ? '""' : native.field(bytes, 0)},"redirect":"${redirect}"${timeoutJson(options)}}`,
    fetchedResponse, fetchError, options.signal === undefined ? request.signal : options.signal,
  );
};

expose('fetch', (input, init) => fetchOutside(input, init));
