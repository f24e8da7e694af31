// isolate.h: isolate ABI 1 for C, header only, freestanding (no libc, no WASI).
//
// A guest includes this once, writes its manifest, and defines one function:
//
//     #include "isolate.h"
//     ISOLATE_MANIFEST("{\"abi\":1,\"codec\":\"json\",\"capabilities\":[\"kv\",\"log\"]}")
//     void on_event(iso_event *event) { if (iso_is(event->type, "action")) iso_text_result(event, iso_lit("hello")); }
//
// `on_event` is called once per delivered event and settles it before it returns: with `event->result` (JSON; empty is
// null) or with an error. An event that waits for a call (iso_fetch, iso_actor_call) is put off with iso_later, and settled
// with iso_settle when the completion of the call has come; completions settle nothing themselves. The codec is `json`, so
// every buffer is base64 text.
//
// Memory is one arena that starts again with every turn: nothing from here outlives the reply. What must last goes into
// variables of the guest (until the actor sleeps) or into KV (for good). Malformed JSON from the host cannot happen; a
// reader that is asked for something missing gives an empty slice, and numbers are 0.
#ifndef ISOLATE_H
#define ISOLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ISOLATE_ABI 1
#define ISOLATE_IMPORT(name) __attribute__((import_module("isolate"), import_name(name)))
#define ISOLATE_EXPORT(name) __attribute__((export_name(name), visibility("default"), used))

// The custom section that the host reads without running anything. `text` is one string literal with JSON; written in
// assembly, because a C variable would become data of the program instead.
#define ISOLATE_MANIFEST(text) \
  __asm__(".section .custom_section.isolate.manifest,\"\",@\n.ascii " #text "\n.section .text.after_manifest,\"\",@\n");

// What host calls answer instead of an envelope.
enum { ISO_MALFORMED = -1, ISO_NOT_GRANTED = -2, ISO_OVER_BUDGET = -3, ISO_TOO_LARGE = -4, ISO_NO_REPLY = -5 };

ISOLATE_IMPORT("host_call") int32_t isolate_host_call(const void *request, uint32_t len, void *out, uint32_t cap);
ISOLATE_IMPORT("host_read") int32_t isolate_host_read(void *out, uint32_t len);
ISOLATE_IMPORT("interrupted") int32_t isolate_interrupted(void);

// A slice of bytes; not terminated.
typedef struct {
  const char *p;
  uint32_t n;
} iso_str;

// Growing bytes in the arena.
typedef struct {
  char *p;
  uint32_t n, cap;
} iso_buf;

typedef struct {
  iso_str raw;     // the whole event, JSON
  iso_str type;    // "start", "action", "socket_message", …
  iso_str id;      // as it stands in the JSON
  iso_buf result;  // JSON; empty means null
  iso_buf error;   // JSON of {"group","code","message"}; wins over the result
  bool later;      // put off: it does not settle now
} iso_event;

// Defined by the guest.
void on_event(iso_event *event);

// --- memory ---------------------------------------------------------------------------------------------------------

extern char __heap_base[];
static uintptr_t iso_arena_at_;

static inline _Noreturn void iso_abort(void) { __builtin_trap(); }

static inline void *iso_alloc(uint32_t n) {
  uintptr_t at = (iso_arena_at_ + 7) & ~(uintptr_t)7, end = at + n;
  if (end < at) iso_abort();
  uintptr_t have = (uintptr_t)__builtin_wasm_memory_size(0) << 16;
  if (end > have && __builtin_wasm_memory_grow(0, (end - have + 65535) >> 16) == (size_t)-1) iso_abort();
  iso_arena_at_ = end;
  return (void *)at;
}

static inline void iso_copy(void *to, const void *from, uint32_t n) {
  if (n) __builtin_memcpy(to, from, n);
}

// --- slices and buffers ---------------------------------------------------------------------------------------------

#define iso_lit(literal) ((iso_str){(literal), sizeof(literal) - 1})

static inline bool iso_eq(iso_str a, iso_str b) {
  if (a.n != b.n) return false;
  for (uint32_t i = 0; i < a.n; i++)
    if (a.p[i] != b.p[i]) return false;
  return true;
}

#define iso_is(slice, literal) iso_eq((slice), iso_lit(literal))

static inline iso_str iso_slice(const iso_buf *b) { return (iso_str){b->p, b->n}; }

static inline void iso_put(iso_buf *b, iso_str s) {
  if (b->n + s.n < b->n) iso_abort();
  if (b->n + s.n > b->cap) {
    uint32_t cap = b->cap < 64 ? 64 : b->cap;
    while (cap < b->n + s.n) {
      if (cap > UINT32_MAX / 2) iso_abort();
      cap *= 2;
    }
    char *p = iso_alloc(cap);
    iso_copy(p, b->p, b->n);
    b->p = p;
    b->cap = cap;
  }
  iso_copy(b->p + b->n, s.p, s.n);
  b->n += s.n;
}

#define iso_puts(buf, literal) iso_put((buf), iso_lit(literal))

// --- writing JSON ---------------------------------------------------------------------------------------------------

static inline void iso_put_int(iso_buf *b, int64_t v) {
  char text[20];
  uint32_t at = sizeof text;
  uint64_t rest = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
  do text[--at] = (char)('0' + rest % 10);
  while (rest /= 10);
  if (v < 0) iso_puts(b, "-");
  iso_put(b, (iso_str){text + at, (uint32_t)sizeof text - at});
}

// UTF-8 text as a JSON string.
static inline void iso_put_text(iso_buf *b, iso_str s) {
  static const char hex[] = "0123456789abcdef";
  iso_puts(b, "\"");
  for (uint32_t i = 0; i < s.n; i++) {
    unsigned char c = (unsigned char)s.p[i];
    if (c < 0x20) {
      char e[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
      iso_put(b, (iso_str){e, 6});
    } else {
      if (c == '"' || c == '\\') iso_puts(b, "\\");
      iso_put(b, (iso_str){s.p + i, 1});
    }
  }
  iso_puts(b, "\"");
}

// Bytes as a JSON string of base64, the form of every buffer field.
static inline void iso_put_bytes(iso_buf *b, iso_str s) {
  static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  iso_puts(b, "\"");
  for (uint32_t i = 0; i < s.n; i += 3) {
    uint32_t left = s.n - i, v = (uint32_t)(unsigned char)s.p[i] << 16;
    if (left > 1) v |= (uint32_t)(unsigned char)s.p[i + 1] << 8;
    if (left > 2) v |= (unsigned char)s.p[i + 2];
    char out[4] = {alphabet[v >> 18], alphabet[v >> 12 & 63], left > 1 ? alphabet[v >> 6 & 63] : '=',
                   left > 2 ? alphabet[v & 63] : '='};
    iso_put(b, (iso_str){out, 4});
  }
  iso_puts(b, "\"");
}

// --- reading JSON ---------------------------------------------------------------------------------------------------

static inline uint32_t iso_space_(iso_str s, uint32_t i) {
  while (i < s.n && (s.p[i] == ' ' || s.p[i] == '\n' || s.p[i] == '\r' || s.p[i] == '\t')) i++;
  return i;
}

// The index behind the value that begins at i.
static inline uint32_t iso_skip_(iso_str s, uint32_t i) {
  uint32_t depth = 0;
  while (i < s.n) {
    char c = s.p[i];
    if (c == '"') {
      for (i++; i < s.n && s.p[i] != '"'; i++)
        if (s.p[i] == '\\') i++;
      i++;
      if (!depth) break;
    } else if (c == '{' || c == '[') {
      depth++;
      i++;
    } else if (c == '}' || c == ']') {
      if (!depth) break;
      i++;
      if (!--depth) break;
    } else if (!depth && (c == ',' || c == ':' || c == ' ' || c == '\n' || c == '\r' || c == '\t')) {
      break;
    } else {
      i++;
    }
  }
  return i < s.n ? i : s.n;
}

// Walks an array, or the names and values of an object in turn: start with *cursor = 0.
static inline bool iso_next(iso_str s, uint32_t *cursor, iso_str *item) {
  uint32_t i = *cursor ? *cursor : 1;
  i = iso_space_(s, i);
  while (i < s.n && (s.p[i] == ',' || s.p[i] == ':')) i = iso_space_(s, i + 1);
  if (i >= s.n || s.p[i] == ']' || s.p[i] == '}') return false;
  uint32_t end = iso_skip_(s, i);
  *item = (iso_str){s.p + i, end - i};
  *cursor = end;
  return true;
}

// The value of a member of an object, as it stands; empty if there is none. Names are compared without unescaping.
static inline iso_str iso_get(iso_str object, iso_str name) {
  uint32_t cursor = 0;
  iso_str key, value;
  if (!object.n || object.p[0] != '{') return (iso_str){0, 0};
  while (iso_next(object, &cursor, &key) && iso_next(object, &cursor, &value))
    if (key.n == name.n + 2 && iso_eq((iso_str){key.p + 1, name.n}, name)) return value;
  return (iso_str){0, 0};
}

#define iso_member(object, literal) iso_get((object), iso_lit(literal))

// The i-th item of an array; empty if there is none.
static inline iso_str iso_item(iso_str array, uint32_t i) {
  uint32_t cursor = 0;
  iso_str item;
  if (!array.n || array.p[0] != '[') return (iso_str){0, 0};
  while (iso_next(array, &cursor, &item))
    if (!i--) return item;
  return (iso_str){0, 0};
}

static inline bool iso_missing(iso_str s) { return !s.n || iso_is(s, "null"); }

// The integer part of a number.
static inline int64_t iso_int(iso_str s) {
  uint64_t v = 0;
  uint32_t i = s.n && s.p[0] == '-';
  for (; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++) v = v * 10 + (uint64_t)(s.p[i] - '0');
  return (int64_t)(s.n && s.p[0] == '-' ? 0 - v : v);
}

static inline uint32_t iso_hex4_(const char *p) {
  uint32_t v = 0;
  for (int i = 0; i < 4; i++) {
    uint32_t c = (unsigned char)p[i] | 32;
    v = v << 4 | (c <= '9' ? c - '0' : c - 'a' + 10);
  }
  return v;
}

// The UTF-8 text of a JSON string.
static inline iso_str iso_text(iso_str s) {
  if (s.n < 2 || s.p[0] != '"') return (iso_str){0, 0};
  char *out = iso_alloc(s.n);
  uint32_t n = 0;
  for (uint32_t i = 1; i + 1 < s.n; i++) {
    char c = s.p[i];
    if (c != '\\') {
      out[n++] = c;
      continue;
    }
    c = s.p[++i];
    if (c != 'u') {
      out[n++] = c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c == 'b' ? '\b' : c == 'f' ? '\f' : c;
      continue;
    }
    if (i + 4 >= s.n) break;
    uint32_t v = iso_hex4_(s.p + i + 1);
    i += 4;
    if (v >= 0xD800 && v < 0xDC00 && i + 6 < s.n && s.p[i + 1] == '\\') {
      v = 0x10000 + ((v - 0xD800) << 10) + (iso_hex4_(s.p + i + 3) - 0xDC00);
      i += 6;
    }
    if (v < 0x80) {
      out[n++] = (char)v;
      continue;
    }
    if (v < 0x800) {
      out[n++] = (char)(0xC0 | v >> 6);
    } else {
      if (v < 0x10000) {
        out[n++] = (char)(0xE0 | v >> 12);
      } else {
        out[n++] = (char)(0xF0 | v >> 18);
        out[n++] = (char)(0x80 | (v >> 12 & 63));
      }
      out[n++] = (char)(0x80 | (v >> 6 & 63));
    }
    out[n++] = (char)(0x80 | (v & 63));
  }
  return (iso_str){out, n};
}

// The bytes of a buffer field.
static inline iso_str iso_bytes(iso_str s) {
  if (s.n < 2 || s.p[0] != '"') return (iso_str){0, 0};
  char *out = iso_alloc(s.n);
  uint32_t n = 0, v = 0, bits = 0;
  for (uint32_t i = 1; i + 1 < s.n && s.p[i] != '='; i++) {
    unsigned char c = (unsigned char)s.p[i];
    uint32_t d = c >= 'a' ? c - 'a' + 26u : c >= 'A' ? c - 'A' + 0u : c == '+' ? 62u : c == '/' ? 63u : c - '0' + 52u;
    v = v << 6 | (d & 63);
    bits += 6;
    if (bits >= 8) out[n++] = (char)(v >> (bits -= 8));
  }
  return (iso_str){out, n};
}

// --- host calls -----------------------------------------------------------------------------------------------------

// Makes the call whose JSON is in `request` and gives back what is under `ok`. On an error the slice has no pointer,
// and *failed is the error's JSON, or a negative number as text.
static inline iso_str iso_call(const iso_buf *request, iso_str *failed) {
  enum { ROOM = 512 };
  char *out = iso_alloc(ROOM);
  int32_t n = isolate_host_call(request->p, request->n, out, ROOM);
  if (n > ROOM) {
    out = iso_alloc((uint32_t)n);
    n = isolate_host_read(out, (uint32_t)n);
  }
  iso_str answer = {out, n < 0 ? 0 : (uint32_t)n};
  iso_str ok = iso_member(answer, "ok");
  if (!ok.n && failed) {
    iso_buf number = {0};
    iso_put_int(&number, n);
    *failed = n < 0 ? iso_slice(&number) : iso_member(answer, "error");
  }
  return ok.n ? ok : (iso_str){0, 0};
}

// The value of a key; *found tells an empty value from a missing one.
static inline iso_str iso_kv_get(iso_str key, bool *found) {
  iso_buf q = {0};
  iso_puts(&q, "{\"call\":\"kv_get\",\"keys\":[");
  iso_put_bytes(&q, key);
  iso_puts(&q, "]}");
  iso_str value = iso_item(iso_call(&q, 0), 0);
  bool have = !iso_missing(value);
  if (found) *found = have;
  return have ? iso_bytes(value) : (iso_str){0, 0};
}

static inline bool iso_kv_put(iso_str key, iso_str value) {
  iso_buf q = {0};
  iso_puts(&q, "{\"call\":\"kv_put\",\"entries\":[[");
  iso_put_bytes(&q, key);
  iso_puts(&q, ",");
  iso_put_bytes(&q, value);
  iso_puts(&q, "]]}");
  return iso_call(&q, 0).p != 0;
}

static inline bool iso_send_text(iso_str conn, iso_str text) {
  iso_buf q = {0};
  iso_puts(&q, "{\"call\":\"socket_send\",\"conn\":");
  iso_put_text(&q, conn);
  iso_puts(&q, ",\"text\":");
  iso_put_text(&q, text);
  iso_puts(&q, "}");
  return iso_call(&q, 0).p != 0;
}

static inline bool iso_send_bytes(iso_str conn, iso_str bytes) {
  iso_buf q = {0};
  iso_puts(&q, "{\"call\":\"socket_send\",\"conn\":");
  iso_put_text(&q, conn);
  iso_puts(&q, ",\"data\":");
  iso_put_bytes(&q, bytes);
  iso_puts(&q, "}");
  return iso_call(&q, 0).p != 0;
}

static inline bool iso_log(iso_str level, iso_str message) {
  iso_buf q = {0};
  iso_puts(&q, "{\"call\":\"log\",\"level\":");
  iso_put_text(&q, level);
  iso_puts(&q, ",\"message\":");
  iso_put_text(&q, message);
  iso_puts(&q, "}");
  return iso_call(&q, 0).p != 0;
}

// The end of this actor, for good, after the commit of this turn; `stop` with the reason `destroy` comes before it.
static inline bool iso_destroy(void) {
  iso_buf q = {0};
  iso_puts(&q, "{\"call\":\"destroy\"}");
  return iso_call(&q, 0).p != 0;
}

// --- calls that complete later ---------------------------------------------------------------------------------------

// Each gives the id that its completion will carry as "call", or 0 if the host refused it. They start when this turn is
// saved; the completion has "result" or "error", and after a fetch "body".
static inline int64_t iso_call_later_(const iso_buf *q) { return iso_int(iso_member(iso_call(q, 0), "call")); }

// `body` may be empty.
static inline int64_t iso_fetch(iso_str method, iso_str url, iso_str body) {
  iso_buf q = {0};
  iso_puts(&q, "{\"call\":\"fetch\",\"method\":");
  iso_put_text(&q, method);
  iso_puts(&q, ",\"url\":");
  iso_put_text(&q, url);
  iso_puts(&q, ",\"body\":");
  iso_put_bytes(&q, body);
  iso_puts(&q, "}");
  return iso_call_later_(&q);
}

// The actor of a name and a key of one part, made if there is none; `args` is a JSON array.
static inline int64_t iso_actor_call(iso_str name, iso_str key, iso_str action, iso_str args) {
  iso_buf q = {0};
  iso_puts(&q, "{\"call\":\"actor_call\",\"method\":\"getOrCreate\",\"name\":");
  iso_put_text(&q, name);
  iso_puts(&q, ",\"key\":[");
  iso_put_text(&q, key);
  iso_puts(&q, "],\"action\":");
  iso_put_text(&q, action);
  iso_puts(&q, ",\"args\":");
  iso_put(&q, args);
  iso_puts(&q, "}");
  return iso_call_later_(&q);
}

// --- settling -------------------------------------------------------------------------------------------------------

static inline void iso_text_result(iso_event *event, iso_str text) { iso_put_text(&event->result, text); }
static inline void iso_int_result(iso_event *event, int64_t v) { iso_put_int(&event->result, v); }

// An error of the group `user` reaches the caller as it is; others are masked.
static inline void iso_fail(iso_event *event, iso_str group, iso_str code, iso_str message) {
  event->error.n = 0;
  iso_puts(&event->error, "{\"group\":");
  iso_put_text(&event->error, group);
  iso_puts(&event->error, ",\"code\":");
  iso_put_text(&event->error, code);
  iso_puts(&event->error, ",\"message\":");
  iso_put_text(&event->error, message);
  iso_puts(&event->error, "}");
}

// How many events are put off, and what this turn settles of them.
static uint64_t iso_pending_;
static iso_buf iso_settled_;

// The event settles in a later turn: gives its id, which a variable of the guest keeps until then.
static inline int64_t iso_later(iso_event *event) {
  if (!event->later) iso_pending_++;
  event->later = true;
  return iso_int(event->id);
}

// Settles an event that was put off, once: with a result, or with an error if that is not empty; both are JSON.
static inline void iso_settle(int64_t id, iso_str result, iso_str error) {
  iso_buf *b = &iso_settled_;
  iso_pending_--;
  if (b->n) iso_puts(b, ",");
  iso_puts(b, "{\"event\":");
  iso_put_int(b, id);
  if (error.n) iso_puts(b, ",\"error\":");
  else if (result.n) iso_puts(b, ",\"result\":");
  iso_put(b, error.n ? error : result);
  iso_puts(b, "}");
}

// --- exports --------------------------------------------------------------------------------------------------------

ISOLATE_EXPORT("isolate_alloc") void *isolate_alloc_(uint32_t len) {
  iso_arena_at_ = (uintptr_t)__heap_base;
  return iso_alloc(len);
}

ISOLATE_EXPORT("isolate_deliver") uint64_t isolate_deliver_(const char *p, uint32_t len) {
  iso_str events = iso_member(((iso_str){p, len}), "events"), raw;
  iso_buf reply = {0};
  uint32_t cursor = 0;
  bool first = true;
  iso_settled_ = (iso_buf){0};
  iso_puts(&reply, "{\"settled\":[");
  while (iso_next(events, &cursor, &raw)) {
    iso_event event = {.raw = raw, .type = iso_text(iso_member(raw, "type")), .id = iso_member(raw, "id")};
    on_event(&event);
    if (event.later || iso_is(event.type, "completion")) continue;
    if (!first) iso_puts(&reply, ",");
    first = false;
    iso_puts(&reply, "{\"event\":");
    iso_put(&reply, event.id);
    if (event.error.n) {
      iso_puts(&reply, ",\"error\":");
      iso_put(&reply, iso_slice(&event.error));
    } else if (event.result.n) {
      iso_puts(&reply, ",\"result\":");
      iso_put(&reply, iso_slice(&event.result));
    }
    iso_puts(&reply, "}");
  }
  if (iso_settled_.n && !first) iso_puts(&reply, ",");
  iso_put(&reply, iso_slice(&iso_settled_));
  iso_puts(&reply, "],\"pending\":");
  iso_put_int(&reply, (int64_t)iso_pending_);
  iso_puts(&reply, "}");
  return (uint64_t)(uintptr_t)reply.p << 32 | reply.n;
}

#endif
