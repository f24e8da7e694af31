// What the engine hands to the prelude (and to nothing else): host calls, buffers of frames, text and values.

typedef struct {
  const uint8_t **at;  // where the length of each buffer stands
  uint32_t count, room;
  bool tagged;  // some string of the header may be a tag: reviving is needed
} Frame;

static Frame g_turn_frame, g_answer_frame;

static bool has_tag(const uint8_t *p, size_t n) {
  for (const uint8_t *end = p + n; (p = memchr(p, '"', end - p)) && ++p < end;)
    if (*p == '$' || (*p == '\\' && end - p > 5 && !memcmp(p, "\\u0024", 6))) return true;
  return false;
}

// Reads `u32 header length | JSON | (u32 length | bytes)*`; the byte behind the frame must be writable.
static JSValue frame_parse(Frame *f, uint8_t *p, uint32_t len) {
  uint32_t header = len < 4 ? UINT32_MAX : get_u32(p);
  if (len < 4 || header > len - 4) return JS_ThrowInternalError(g_ctx, "malformed frame");
  f->count = 0;
  for (uint32_t i = 4 + header; i < len;) {
    uint32_t n = len - i < 4 ? UINT32_MAX : get_u32(p + i);
    if (len - i < 4 || n > len - i - 4) return JS_ThrowInternalError(g_ctx, "malformed frame");
    if (f->count == f->room) {
      f->room = f->room ? 2 * f->room : 8;
      f->at = realloc(f->at, f->room * sizeof *f->at);
      if (!f->at) __wasi_proc_exit(EXIT_MEMORY);
    }
    f->at[f->count++] = p + i;
    i += 4 + n;
  }
  f->tagged = has_tag(p + 4, header);
  uint8_t behind = p[4 + header];
  p[4 + header] = 0;
  JSValue v = JS_ParseJSON(g_ctx, (char *)p + 4, header, "<envelope>");
  p[4 + header] = behind;
  return v;
}

// A buffer field as it stands in a parsed header: base64 text, or {"$bin": i}.
static bool frame_field(const Frame *f, JSValueConst field, const uint8_t **p, size_t *n, uint8_t **owned) {
  *owned = NULL;
  if (JS_IsString(field)) {
    size_t len;
    const char *s = JS_ToCStringLen(g_ctx, &len, field);
    if (s) *owned = base64_bytes(s, len, n);
    JS_FreeCString(g_ctx, s);
    *p = *owned;
  } else {
    JSValue index = JS_GetPropertyStr(g_ctx, field, "$bin");
    uint32_t i = UINT32_MAX;
    bool known = JS_IsNumber(index) && !JS_ToUint32(g_ctx, &i, index) && i < f->count;
    JS_FreeValue(g_ctx, index);
    if (!known) {
      JS_ThrowInternalError(g_ctx, "malformed frame: no such buffer");
      return false;
    }
    *p = f->at[i] + 4;
    *n = get_u32(f->at[i]);
  }
  if (!*p) JS_ThrowInternalError(g_ctx, "malformed frame: not base64");
  return *p != NULL;
}

#define NATIVE(name) static JSValue name(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
#define FRAME(v) (JS_VALUE_GET_INT(v) ? &g_answer_frame : &g_turn_frame)

static JSValue throw_host_error(JSValue what) {
  JSValue error = JS_Call(g_ctx, g_host_error, JS_UNDEFINED, 1, (JSValueConst *)&what);
  JS_FreeValue(g_ctx, what);
  return JS_IsException(error) ? error : JS_Throw(g_ctx, error);
}

// call(json) → what is under `ok`; throws what the prelude's hostError makes of an error or a negative number.
NATIVE(native_call) {
  Buf *q = &g_request;
  q->n = 0;
  buf_u32(q, 0);
  buf_string(q, argv[0]);
  put_u32(q->p, q->n - 4);
  buf_bytes(q, g_staged_call.p, g_staged_call.n);
  g_staged_call.n = g_staged_call_count = 0;
  if (g_answer.cap > KEEP_BYTES) buf_drop(&g_answer);
  buf_room(&g_answer, 4096);
  int32_t n = host_call(q->p, q->n, g_answer.p, g_answer.cap - 1);
  if (q->cap > KEEP_BYTES) buf_drop(q);
  if (n > 0 && (uint32_t)n > g_answer.cap - 1) {
    buf_room(&g_answer, (uint32_t)n + 1);
    n = host_read(g_answer.p, (uint32_t)n);
  }
  if (n < 0) return throw_host_error(JS_NewInt32(ctx, n));
  if (n == 15 && !memcmp(g_answer.p + 4, "{\"ok\":null}", 11)) return JS_NULL;
  JSValue answer = frame_parse(&g_answer_frame, g_answer.p, (uint32_t)n);
  if (JS_IsException(answer)) return answer;
  JSAtom atom = JS_NewAtom(ctx, "error");
  int failed = JS_IsObject(answer) ? JS_GetOwnProperty(ctx, NULL, answer, atom) : 0;
  JSValue v = failed ? JS_GetProperty(ctx, answer, atom) : JS_GetPropertyStr(ctx, answer, "ok");
  JS_FreeAtom(ctx, atom);
  JS_FreeValue(ctx, answer);
  return failed ? throw_host_error(v) : v;
}

// field(bytes | string, 0 call | 1 reply) → the JSON of a buffer field; undefined if it is neither.
NATIVE(native_field) {
  const uint8_t *p;
  size_t n;
  const char *s = NULL;
  Buf text = {0}, out = {0};
  if (JS_IsString(argv[0])) {
    s = JS_ToCStringLen(ctx, &n, argv[0]);
    if (!s) return JS_EXCEPTION;
    buf_well_formed(&text, (const uint8_t *)s, n);
    JS_FreeCString(ctx, s);
    p = text.p;
    n = text.n;
  } else if (!bytes_of(argv[0], &p, &n)) {
    return JS_UNDEFINED;
  }
  bool to_reply = JS_VALUE_GET_INT(argv[1]);
  if (n < 1024) {
    buf_text(&out, "\"");
    buf_base64(&out, p, n);
    buf_text(&out, "\"");
  } else {
    Buf *staged = to_reply ? &g_staged_reply : &g_staged_call;
    char placeholder[32];
    buf_u32(staged, (uint32_t)n);
    buf_bytes(staged, p, (uint32_t)n);
    snprintf(placeholder, sizeof placeholder, "{\"$bin\":%u}", to_reply ? g_staged_reply_count++ : g_staged_call_count++);
    buf_text(&out, placeholder);
  }
  JSValue v = JS_NewStringLen(ctx, (char *)out.p, out.n);
  buf_drop(&text);
  buf_drop(&out);
  return v;
}

// bytes(field, 0 turn | 1 answer) → Uint8Array
NATIVE(native_bytes) {
  const uint8_t *p;
  uint8_t *owned;
  size_t n = 0;
  if (!frame_field(FRAME(argv[1]), argv[0], &p, &n, &owned)) return JS_EXCEPTION;
  JSValue v = JS_NewUint8ArrayCopy(ctx, p, n);
  free(owned);
  return v;
}

static JSValue decode(const uint8_t *p, size_t n) {
  if (utf8_valid(p, n) == n) return JS_NewStringLen(g_ctx, (const char *)p, n);
  Buf fixed = {0};
  buf_repaired(&fixed, p, n);
  JSValue v = JS_NewStringLen(g_ctx, (char *)fixed.p, fixed.n);
  buf_drop(&fixed);
  return v;
}

// text(field, 0 turn | 1 answer) → string
NATIVE(native_text) {
  const uint8_t *p;
  uint8_t *owned;
  size_t n = 0;
  if (!frame_field(FRAME(argv[1]), argv[0], &p, &n, &owned)) return JS_EXCEPTION;
  JSValue v = decode(p, n);
  free(owned);
  return v;
}

// encode(string) → Uint8Array, well-formed UTF-8
NATIVE(native_encode) {
  size_t n;
  const char *s = JS_ToCStringLen(ctx, &n, argv[0]);
  if (!s) return JS_EXCEPTION;
  Buf b = {0};
  buf_well_formed(&b, (const uint8_t *)s, n);
  JS_FreeCString(ctx, s);
  JSValue v = JS_NewUint8ArrayCopy(ctx, b.p, b.n);
  buf_drop(&b);
  return v;
}

// decode(bytes, from, to, fatal) → string; undefined if it is not a buffer, null if fatal and malformed
NATIVE(native_decode) {
  const uint8_t *p;
  size_t n;
  uint32_t from, to;
  if (!bytes_of(argv[0], &p, &n)) return JS_UNDEFINED;
  if (JS_ToUint32(ctx, &from, argv[1]) || JS_ToUint32(ctx, &to, argv[2])) return JS_EXCEPTION;
  if (to > n) to = (uint32_t)n;
  if (from > to) from = to;
  if (JS_VALUE_GET_BOOL(argv[3]) && utf8_valid(p + from, to - from) != to - from) return JS_NULL;
  return decode(p + from, to - from);
}

// copy(buffer) → Uint8Array with the same bytes; undefined if it is not a buffer
NATIVE(native_copy) {
  const uint8_t *p;
  size_t n;
  return bytes_of(argv[0], &p, &n) ? JS_NewUint8ArrayCopy(ctx, p, n) : JS_UNDEFINED;
}

NATIVE(native_quote) {
  Buf b = {0};
  if (!quote_string(&b, argv[0])) return JS_EXCEPTION;
  JSValue v = JS_NewStringLen(ctx, (char *)b.p, b.n);
  buf_drop(&b);
  return v;
}

// value(v, 0 wire | 1 state) → JSON
NATIVE(native_value) {
  Writer w = {.mode = JS_VALUE_GET_INT(argv[1])};
  JSValue v = write_value(&w, argv[0]) ? JS_EXCEPTION : JS_NewStringLen(ctx, (char *)w.out.p, w.out.n);
  buf_drop(&w.out);
  return v;
}

// revive(tree, 0 turn | 1 answer | 2 any other): consumes nothing of the tree that the caller still uses
NATIVE(native_revive) {
  JSValue v = js_dup(argv[0]);
  return JS_VALUE_GET_INT(argv[1]) == 2 || FRAME(argv[1])->tagged ? revive(v) : v;
}

// digest(0 SHA-1 | 1 SHA-256 | 2 SHA-384 | 3 SHA-512, bytes) → Uint8Array; undefined if it is not a buffer
NATIVE(native_digest) {
  const uint8_t *p;
  size_t n;
  uint8_t out[64];
  if (!bytes_of(argv[1], &p, &n)) return JS_UNDEFINED;
  const Digest *d = &digests[JS_VALUE_GET_INT(argv[0])];
  digest_bytes(d, p, n, out);
  return JS_NewUint8ArrayCopy(ctx, out, d->length);
}

NATIVE(native_set_now) {
  return JS_ToInt64(ctx, &g_now_ms, argv[0]) ? JS_EXCEPTION : JS_UNDEFINED;
}

NATIVE(native_say) {
  say_value(argv[0]);
  return JS_UNDEFINED;
}

// classOf(v) → a name for what structuredClone treats in its own way
NATIVE(native_class_of) {
  if (!JS_IsObject(argv[0])) return JS_NewString(ctx, "primitive");
  JSClassID id = JS_VALUE_GET_OBJ(argv[0])->class_id;
  const char *name = "object";
  if (JS_IsFunction(ctx, argv[0])) name = "function";
  else if (JS_IsArray(argv[0])) name = "array";
  else if (id == JS_CLASS_DATE) name = "date";
  else if (id == JS_CLASS_REGEXP) name = "regexp";
  else if (id == JS_CLASS_MAP) name = "map";
  else if (id == JS_CLASS_SET) name = "set";
  else if (id == JS_CLASS_ERROR) name = "error";
  else if (id == JS_CLASS_ARRAY_BUFFER) name = "buffer";
  else if (id >= JS_CLASS_UINT8C_ARRAY && id <= JS_CLASS_FLOAT64_ARRAY) name = "typed";
  else if (id == JS_CLASS_DATAVIEW) name = "view";
  else if (id == JS_CLASS_NUMBER || id == JS_CLASS_STRING || id == JS_CLASS_BOOLEAN || id == JS_CLASS_BIG_INT)
    name = "boxed";
  else if (id != JS_CLASS_OBJECT && id != JS_CLASS_ARGUMENTS && id != JS_CLASS_MAPPED_ARGUMENTS) name = "other";
  return JS_NewString(ctx, name);
}

static JSValue native_object(void) {
  static const struct {
    const char *name;
    JSCFunction *run;
    int args;
  } table[] = {
      {"call", native_call, 1},     {"field", native_field, 2},   {"bytes", native_bytes, 2},
      {"text", native_text, 2},     {"encode", native_encode, 1}, {"decode", native_decode, 4},
      {"copy", native_copy, 1},     {"quote", native_quote, 1},   {"value", native_value, 2},
      {"revive", native_revive, 2}, {"say", native_say, 1},       {"setNow", native_set_now, 1},
      {"classOf", native_class_of, 1}, {"digest", native_digest, 2},
  };
  JSValue native = JS_NewObject(g_ctx);
  for (size_t i = 0; i < countof(table); i++)
    JS_SetPropertyStr(g_ctx, native, table[i].name, JS_NewCFunction(g_ctx, table[i].run, table[i].name, table[i].args));
  return native;
}

// --- rejected promises that nobody handles ------------------------------------------------------------------------

typedef struct Rejection {
  struct Rejection *next;
  JSValue promise, reason;
} Rejection;

static Rejection *g_rejections;

static void drop_rejection(Rejection **at) {
  Rejection *gone = *at;
  *at = gone->next;
  JS_FreeValue(g_ctx, gone->promise);
  JS_FreeValue(g_ctx, gone->reason);
  free(gone);
}

static void on_rejection(JSContext *ctx, JSValueConst promise, JSValueConst reason, bool handled, void *opaque) {
  (void)opaque;
  Rejection **at = &g_rejections;
  if (handled) {
    while (*at && JS_VALUE_GET_PTR((*at)->promise) != JS_VALUE_GET_PTR(promise)) at = &(*at)->next;
    if (*at) drop_rejection(at);
    return;
  }
  Rejection *r = malloc(sizeof *r);
  if (!r) {
    g_out_of_memory = true;
    return;
  }
  *r = (Rejection){NULL, JS_DupValue(ctx, promise), JS_DupValue(ctx, reason)};
  while (*at) at = &(*at)->next;
  *at = r;
}

static void forget_rejections(void) {
  while (g_rejections) drop_rejection(&g_rejections);
}

static void report_rejections(void) {
  while (g_rejections) {
    JSValue r = JS_Call(g_ctx, g_rejected, JS_UNDEFINED, 1, (JSValueConst *)&g_rejections->reason);
    if (JS_IsException(r)) JS_FreeValue(g_ctx, JS_GetException(g_ctx));
    JS_FreeValue(g_ctx, r);
    drop_rejection(&g_rejections);
  }
}
