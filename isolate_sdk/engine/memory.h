// Memory of the engine: the allocator that knows when the heap is full, and growing byte buffers.
//
// A failed allocation is remembered even if JavaScript catches the error: the entry ends in EXIT_MEMORY. Buffers of the
// bridge leave at once, since there is nobody to throw to.

// A buffer above this is given back before the next entry, so that one big message does not stay in a live actor.
#define KEEP_BYTES (16u << 10)

// The collector walks (and so dirties) the whole heap: actors share untouched pages with their image until they made
// this much garbage of their own.
#define GC_SLACK (1u << 20)

static size_t g_heap_limit, g_heap_used;
static bool g_out_of_memory, g_stopped;

static void say(const char *text, size_t len) {
  __wasi_ciovec_t parts[2] = {{(const uint8_t *)text, len}, {(const uint8_t *)"\n", 1}};
  __wasi_size_t written;
  (void)!__wasi_fd_write(2, parts, 2, &written);
}

static void *heap_note(void *p) {
  if (p) g_heap_used += malloc_usable_size(p);
  else g_out_of_memory = true;
  return p;
}

static bool heap_full(size_t more) {
  if (!g_heap_limit || (g_heap_used + more >= more && g_heap_used + more <= g_heap_limit)) return false;
  g_out_of_memory = true;
  return true;
}

static void *heap_calloc(void *opaque, size_t count, size_t size) {
  (void)opaque;
  return heap_full(count * size) ? NULL : heap_note(calloc(count, size));
}

static void *heap_malloc(void *opaque, size_t size) {
  (void)opaque;
  return heap_full(size) ? NULL : heap_note(malloc(size));
}

static void heap_free(void *opaque, void *p) {
  (void)opaque;
  if (p) g_heap_used -= malloc_usable_size(p);
  free(p);
}

static void *heap_realloc(void *opaque, void *p, size_t size) {
  (void)opaque;
  size_t old = p ? malloc_usable_size(p) : 0;
  if (size > old && heap_full(size - old)) return NULL;
  void *q = realloc(p, size);
  if (!q && size) {
    g_out_of_memory = true;
    return NULL;
  }
  g_heap_used += (q ? malloc_usable_size(q) : 0) - old;
  return q;
}

static const JSMallocFunctions malloc_functions = {heap_calloc, heap_malloc, heap_free, heap_realloc,
                                                   js__malloc_usable_size};

static void put_off_collection(void) {
  JS_SetGCThreshold(g_rt, g_rt->malloc_state.malloc_size + GC_SLACK);
}

// Before an image is taken.
static void settle_heap(void) {
  JS_RunGC(g_rt);
  put_off_collection();
}

typedef struct {
  uint8_t *p;
  uint32_t n, cap;
} Buf;

static Buf g_in, g_out, g_request, g_answer, g_staged_call, g_staged_reply;
static uint32_t g_staged_call_count, g_staged_reply_count;

static void buf_room(Buf *b, uint32_t more) {
  if (b->cap - b->n >= more) return;
  uint64_t cap = b->cap ? b->cap : 512;
  while (cap < (uint64_t)b->n + more) cap *= 2;
  uint8_t *p = cap > (1u << 30) ? NULL : realloc(b->p, cap);
  if (!p) {
    say("out of memory", 13);
    __wasi_proc_exit(EXIT_MEMORY);
  }
  b->p = p;
  b->cap = (uint32_t)cap;
}

static void buf_drop(Buf *b) {
  free(b->p);
  *b = (Buf){0};
}

static void buf_bytes(Buf *b, const void *p, uint32_t n) {
  if (!n) return;
  buf_room(b, n);
  memcpy(b->p + b->n, p, n);
  b->n += n;
}

static void buf_text(Buf *b, const char *text) { buf_bytes(b, text, strlen(text)); }

static void buf_u32(Buf *b, uint32_t v) {
  buf_room(b, 4);
  put_u32(b->p + b->n, v);
  b->n += 4;
}

// The text of a string as UTF-8, as the engine keeps it (a lone surrogate stays three bytes).
static void buf_string(Buf *b, JSValueConst v) {
  size_t n;
  const char *s = JS_ToCStringLen(g_ctx, &n, v);
  if (!s) return;
  buf_bytes(b, s, n);
  JS_FreeCString(g_ctx, s);
}

static void say_value(JSValueConst v) {
  size_t n;
  const char *s = JS_ToCStringLen(g_ctx, &n, v);
  if (!s) return;
  say(s, n);
  JS_FreeCString(g_ctx, s);
}
