// Text and bytes: well-formed UTF-8, JSON quoting, base64, and the bytes behind a JavaScript buffer.

// What a proxy stands for in the end; a revoked one stands for itself.
static JSValueConst target_of(JSValueConst v) {
  while (JS_IsObject(v) && JS_VALUE_GET_OBJ(v)->class_id == JS_CLASS_PROXY) {
    JSProxyData *proxy = JS_VALUE_GET_OBJ(v)->u.opaque;
    if (proxy->is_revoked) break;
    v = proxy->target;
  }
  return v;
}

// The object behind a proxy if it is one whose content lies in slots of its own, which no trap reaches; else the value.
static JSValueConst behind_proxy(JSValueConst v) {
  JSValueConst at = target_of(v);
  if (!JS_IsObject(at)) return v;
  JSClassID id = JS_VALUE_GET_OBJ(at)->class_id;
  bool slots = id == JS_CLASS_MAP || id == JS_CLASS_SET || id == JS_CLASS_DATE || id == JS_CLASS_ARRAY_BUFFER ||
               id == JS_CLASS_DATAVIEW || (id >= JS_CLASS_UINT8C_ARRAY && id <= JS_CLASS_FLOAT64_ARRAY);
  return slots ? at : v;
}

// The bytes of an ArrayBuffer, a typed array or a DataView; false (and no exception) if it is none of them.
static bool bytes_of(JSValueConst v, const uint8_t **p, size_t *n) {
  v = behind_proxy(v);
  if (!JS_IsObject(v)) return false;
  JSObject *o = JS_VALUE_GET_OBJ(v);
  if (o->class_id == JS_CLASS_ARRAY_BUFFER || o->class_id == JS_CLASS_SHARED_ARRAY_BUFFER) {
    JSArrayBuffer *a = o->u.array_buffer;
    *p = a->data;
    *n = a->detached ? 0 : a->byte_length;
    return true;
  }
  bool view = o->class_id == JS_CLASS_DATAVIEW;
  if (!view && !(o->class_id >= JS_CLASS_UINT8C_ARRAY && o->class_id <= JS_CLASS_FLOAT64_ARRAY)) return false;
  JSTypedArray *t = o->u.typed_array;
  JSArrayBuffer *a = t->buffer->u.array_buffer;
  *p = a->data + t->offset;
  if (a->detached || t->offset > (size_t)a->byte_length) *n = 0;
  else if (t->track_rab) *n = a->byte_length - t->offset;
  else *n = t->offset + t->length > (size_t)a->byte_length ? 0 : t->length;
  return true;
}

// The length of the UTF-8 sequence at p, 0 if it is malformed; *bad is then the length of the maximal wrong part.
static size_t utf8_step(const uint8_t *p, size_t n, size_t *bad) {
  uint8_t c = p[0], low = 0x80, high = 0xBF;
  size_t need;
  if (c < 0x80) return 1;
  *bad = 1;
  if (c >= 0xC2 && c <= 0xDF) need = 1;
  else if (c >= 0xE0 && c <= 0xEF) {
    need = 2;
    if (c == 0xE0) low = 0xA0;
    if (c == 0xED) high = 0x9F;
  } else if (c >= 0xF0 && c <= 0xF4) {
    need = 3;
    if (c == 0xF0) low = 0x90;
    if (c == 0xF4) high = 0x8F;
  } else return 0;
  for (size_t i = 1; i <= need; i++) {
    if (i >= n || p[i] < low || p[i] > high) return 0;
    low = 0x80;
    high = 0xBF;
    *bad = i + 1;
  }
  return need + 1;
}

static size_t utf8_valid(const uint8_t *p, size_t n) {
  size_t i = 0, bad, step;
  while (i < n && (step = utf8_step(p + i, n - i, &bad))) i += step;
  return i;
}

// UTF-8 in, well-formed UTF-8 out; every maximal wrong part becomes U+FFFD.
static void buf_repaired(Buf *b, const uint8_t *p, size_t n) {
  size_t from = 0, i = 0, bad, step;
  while (i < n) {
    if ((step = utf8_step(p + i, n - i, &bad))) {
      i += step;
      continue;
    }
    buf_bytes(b, p + from, i - from);
    buf_bytes(b, "\xEF\xBF\xBD", 3);
    i += bad;
    from = i;
  }
  buf_bytes(b, p + from, n - from);
}

// What the engine writes for a lone surrogate is three bytes ED A0..BF xx; a UTF-8 consumer wants U+FFFD instead.
static void buf_well_formed(Buf *b, const uint8_t *p, size_t n) {
  size_t from = 0;
  for (size_t i = 0; i + 2 < n; i++) {
    if (p[i] != 0xED || p[i + 1] < 0xA0) continue;
    buf_bytes(b, p + from, i - from);
    buf_bytes(b, "\xEF\xBF\xBD", 3);
    from = i + 3;
    i += 2;
  }
  buf_bytes(b, p + from, n - from);
}

static void quote_bytes(Buf *b, const uint8_t *p, size_t n) {
  static const char hex[] = "0123456789abcdef";
  size_t from = 0;
  buf_bytes(b, "\"", 1);
  for (size_t i = 0; i < n; i++) {
    uint8_t c = p[i];
    if (c >= 0x20 && c != '"' && c != '\\' && c != 0xED) continue;
    if (c == 0xED) {
      if (i + 2 >= n || p[i + 1] < 0xA0) continue;
      buf_bytes(b, p + from, i - from);
      buf_bytes(b, "\xEF\xBF\xBD", 3);
      i += 2;
      from = i + 1;
      continue;
    }
    buf_bytes(b, p + from, i - from);
    from = i + 1;
    char e[6] = {'\\', c};
    uint32_t len = 2;
    switch (c) {
    case '"': case '\\': break;
    case '\n': e[1] = 'n'; break;
    case '\r': e[1] = 'r'; break;
    case '\t': e[1] = 't'; break;
    default:
      e[1] = 'u';
      e[2] = e[3] = '0';
      e[4] = hex[c >> 4];
      e[5] = hex[c & 15];
      len = 6;
    }
    buf_bytes(b, e, len);
  }
  buf_bytes(b, p + from, n - from);
  buf_bytes(b, "\"", 1);
}

static bool quote_string(Buf *b, JSValueConst v) {
  size_t n;
  const char *s = JS_ToCStringLen(g_ctx, &n, v);
  if (!s) return false;
  quote_bytes(b, (const uint8_t *)s, n);
  JS_FreeCString(g_ctx, s);
  return true;
}

static void buf_base64(Buf *b, const uint8_t *p, size_t n) {
  buf_room(b, (uint32_t)((n + 2) / 3 * 4 + 1));
  b->n += b64_encode(p, n, (char *)b->p + b->n, b64_enc);
}

// Strict: padding is required, pad bits are zero, no white space. NULL if it is malformed; the caller frees.
static uint8_t *base64_bytes(const char *s, size_t n, size_t *out) {
  size_t pad = n >= 1 && s[n - 1] == '=' ? (n >= 2 && s[n - 2] == '=' ? 2 : 1) : 0;
  size_t want = n / 4 * 3 - pad, read = 0;
  int err = 0;
  if (n % 4) return NULL;
  for (size_t i = 0; i < n - pad; i++)
    if (!(b64_flags[(uint8_t)s[i]] & K_VAL)) return NULL;
  if (pad && (b64_val[(uint8_t)s[n - pad - 1]] & (pad == 1 ? 3 : 15))) return NULL;
  uint8_t *p = malloc(want + 3);
  if (!p) __wasi_proc_exit(EXIT_MEMORY);
  *out = from_base64(s, n, p, want, b64_flags, B64_LAST_STRICT, &read, &err);
  if (err || *out != want) {
    free(p);
    return NULL;
  }
  return p;
}

static JSValue base64_array(JSValueConst text, bool as_buffer) {
  size_t n, len;
  const char *s = JS_ToCStringLen(g_ctx, &n, text);
  if (!s) return JS_EXCEPTION;
  uint8_t *p = base64_bytes(s, n, &len);
  JS_FreeCString(g_ctx, s);
  if (!p) return JS_ThrowTypeError(g_ctx, "malformed base64");
  JSValue v = as_buffer ? JS_NewArrayBufferCopy(g_ctx, p, len) : JS_NewUint8ArrayCopy(g_ctx, p, len);
  free(p);
  return v;
}
