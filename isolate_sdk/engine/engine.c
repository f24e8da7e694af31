// The JavaScript engine module: QuickJS-NG behind isolate ABI 1.
//
// A unity build, so that the clock, the random state and the frames of the engine are within reach. What is guaranteed:
//   * tenant code reaches the host only through the prelude; the functions by which the host enters the prelude live in
//     C-side values and never on the global object;
//   * an instance that cannot go on leaves through proc_exit, which is a trap in the host: 101 interrupted (the time of
//     the turn is up), 102 out of memory, 103 a bug of the engine or the prelude;
//   * time stands still: the clock is what the host said for the turn, and 0 outside of one.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <wasi/api.h>

static int64_t g_now_ms;

static int engine_gettimeofday(struct timeval *tv, void *zone) {
  (void)zone;
  tv->tv_sec = g_now_ms / 1000;
  tv->tv_usec = (g_now_ms % 1000) * 1000;
  return 0;
}

static int engine_clock_gettime(clockid_t clock, struct timespec *ts) {
  (void)clock;
  ts->tv_sec = g_now_ms / 1000;
  ts->tv_nsec = (g_now_ms % 1000) * 1000000;
  return 0;
}

#define gettimeofday engine_gettimeofday
#define clock_gettime engine_clock_gettime
#include "quickjs.c"
#undef malloc
#undef free
#undef realloc

#define IMPORT(n) __attribute__((import_module("isolate"), import_name(n)))
#define EXPORT(n) __attribute__((export_name(n), visibility("default"), used))

IMPORT("host_call") int32_t host_call(const uint8_t *req, uint32_t len, uint8_t *out, uint32_t cap);
IMPORT("host_read") int32_t host_read(uint8_t *out, uint32_t len);
IMPORT("interrupted") int32_t host_interrupted(void);

enum { EXIT_INTERRUPTED = 101, EXIT_MEMORY = 102, EXIT_BUG = 103 };

static JSRuntime *g_rt;
static JSContext *g_ctx;

// What the prelude hands to the engine; see native.h for what the engine hands to the prelude.
static JSValue g_enter, g_finish, g_bind, g_describe, g_rejected, g_host_error, g_sdk;

#include "memory.h"
#include "text.h"
#include "values.h"
#include "digest.h"
#include "native.h"
#include "module.h"

// --- the end of an instance ---------------------------------------------------------------------------------------

// The stack that the engine keeps inside an error; no accessor that a tenant could have changed is asked.
static JSValueConst stack_of(JSValueConst error) {
  bool real = JS_IsObject(error) && JS_VALUE_GET_OBJ(error)->class_id == JS_CLASS_ERROR;
  return real ? JS_VALUE_GET_OBJ(error)->u.object_data : JS_UNDEFINED;
}

static void say_stack(JSValueConst error) {
  JSValueConst stack = stack_of(error);
  if (JS_IsString(stack)) say_value(stack);
}

static void leave_interrupted(void) {
  say("interrupted: the time of the turn is up", 39);
  say_stack(JS_GetException(g_ctx));
  __wasi_proc_exit(EXIT_INTERRUPTED);
}

static void leave_if_finished(void) {
  if (g_stopped) leave_interrupted();
  if (g_out_of_memory) {
    say("out of memory", 13);
    __wasi_proc_exit(EXIT_MEMORY);
  }
}

static _Noreturn void leave_bug(void) {
  leave_if_finished();
  JSValue error = JS_GetException(g_ctx);
  say_value(error);
  say_stack(error);
  __wasi_proc_exit(EXIT_BUG);
}

// The handler is asked every 10,000 jumps and calls, about 0.3 ms; the host is asked every fourth time.
static int on_interrupt(JSRuntime *rt, void *opaque) {
  static uint32_t asked;
  (void)rt;
  (void)opaque;
  if (g_stopped) return 1;
  if (++asked % 4 || !host_interrupted()) return 0;
  g_stopped = true;
  // From here on no tenant code may run: a formatter of stacks is tenant code.
  JS_FreeValue(g_ctx, g_ctx->error_prepare_stack);
  g_ctx->error_prepare_stack = JS_UNDEFINED;
  JS_FreeValue(g_ctx, g_ctx->error_stack_trace_limit);
  g_ctx->error_stack_trace_limit = js_int32(20);
  return 1;
}

// Runs promise jobs until none is left; stops at the first interrupted one. A chain of short jobs counts for the
// handler too, so the host is asked here only every so often: each question costs more than most jobs.
static void run_jobs(void) {
  JSContext *ctx;
  uint32_t count = 0;
  int r;
  while ((r = JS_ExecutePendingJob(g_rt, &ctx)) != 0) {
    leave_if_finished();
    if (r < 0) JS_FreeValue(ctx, JS_GetException(ctx));
    if (++count % 64 == 0 && host_interrupted()) {
      g_stopped = true;
      leave_if_finished();
    }
  }
}

static JSValue must(JSValue v) {
  if (JS_IsException(v)) leave_bug();
  return v;
}

static uint64_t reply(uint32_t len) { return (uint64_t)(uint32_t)(uintptr_t)g_out.p << 32 | len; }

static uint64_t reply_value(JSValue text) {
  g_out.n = 0;
  buf_string(&g_out, must(text));
  JS_FreeValue(g_ctx, text);
  leave_if_finished();
  return reply(g_out.n);
}

static uint64_t reply_error(const char *code) {
  leave_if_finished();
  JSValue argv[2] = {JS_NewString(g_ctx, code), JS_GetException(g_ctx)};
  if (JS_IsUndefined(g_describe)) {
    JS_Throw(g_ctx, argv[1]);
    leave_bug();
  }
  JSValue text = must(JS_Call(g_ctx, g_describe, JS_UNDEFINED, 2, (JSValueConst *)argv));
  JS_FreeValue(g_ctx, argv[0]);
  JS_FreeValue(g_ctx, argv[1]);
  return reply_value(text);
}

// --- exports ------------------------------------------------------------------------------------------------------

EXPORT("isolate_alloc") uint8_t *isolate_alloc(uint32_t len) {
  if (len >= UINT32_MAX - 4096) __wasi_proc_exit(EXIT_MEMORY);
  if (g_in.cap > KEEP_BYTES && len < KEEP_BYTES) buf_drop(&g_in);
  if (g_out.cap > KEEP_BYTES) buf_drop(&g_out);
  g_in.n = 0;
  buf_room(&g_in, len + 1);
  return g_in.p;
}

EXPORT("boot") int32_t boot(uint32_t stack, uint32_t heap) {
  g_heap_limit = heap;
  g_rt = JS_NewRuntime2(&malloc_functions, NULL);
  if (!g_rt) return -1;
  JS_SetMaxStackSize(g_rt, stack);
  JS_SetInterruptHandler(g_rt, on_interrupt, NULL);
  g_ctx = JS_NewContext(g_rt);
  if (!g_ctx) return -2;
  JS_SetHostPromiseRejectionTracker(g_rt, on_rejection, NULL);
  JS_SetModuleLoaderFunc(g_rt, module_name, module_load, NULL);
  g_enter = g_finish = g_bind = g_describe = g_rejected = g_host_error = g_sdk = JS_UNDEFINED;
  values_init();
  return g_out_of_memory ? -3 : 0;
}

// The prelude without its text: every function would keep a copy of its own source for toString.
static JSValue run_without_source(const char *source, uint32_t len) {
  size_t n;
  JSValue code = JS_Eval(g_ctx, source, len, "prelude.js",
                         JS_EVAL_TYPE_GLOBAL | JS_EVAL_FLAG_STRICT | JS_EVAL_FLAG_COMPILE_ONLY);
  if (JS_IsException(code)) return code;
  uint8_t *bytes = JS_WriteObject(g_ctx, &n, code, JS_WRITE_OBJ_BYTECODE | JS_WRITE_OBJ_STRIP_SOURCE);
  JS_FreeValue(g_ctx, code);
  if (!bytes) return JS_EXCEPTION;
  code = JS_ReadObject(g_ctx, bytes, n, JS_READ_OBJ_BYTECODE);
  js_free(g_ctx, bytes);
  return JS_IsException(code) ? code : JS_EvalFunction(g_ctx, code);
}

// Runs the prelude: an expression that gives a function of the native object, which returns the entry functions.
EXPORT("prelude") uint64_t prelude(char *source, uint32_t len) {
  JS_UpdateStackTop(g_rt);
  source[len] = 0;
  JSValue make = run_without_source(source, len);
  JSValue native = native_object();
  JSValue entries = JS_IsException(make) ? make : JS_Call(g_ctx, make, JS_UNDEFINED, 1, (JSValueConst *)&native);
  JS_FreeValue(g_ctx, native);
  leave_if_finished();
  if (JS_IsException(entries)) {
    JSValue error = JS_GetException(g_ctx);
    g_out.n = 0;
    buf_text(&g_out, "{\"error\":{\"code\":\"prelude\",\"message\":");
    JSValue text = JS_ToString(g_ctx, error);
    quote_string(&g_out, text);
    buf_text(&g_out, ",\"stack\":");
    JSValueConst stack = stack_of(error);
    if (JS_IsString(stack)) quote_string(&g_out, stack);
    else buf_text(&g_out, "null");
    buf_text(&g_out, "}}");
    return reply(g_out.n);
  }
  JS_FreeValue(g_ctx, make);
  g_enter = JS_GetPropertyStr(g_ctx, entries, "enter");
  g_finish = JS_GetPropertyStr(g_ctx, entries, "finish");
  g_bind = JS_GetPropertyStr(g_ctx, entries, "bind");
  g_describe = JS_GetPropertyStr(g_ctx, entries, "describe");
  g_rejected = JS_GetPropertyStr(g_ctx, entries, "rejected");
  g_host_error = JS_GetPropertyStr(g_ctx, entries, "hostError");
  g_sdk = JS_GetPropertyStr(g_ctx, entries, "sdk");
  JS_FreeValue(g_ctx, entries);
  run_jobs();
  settle_heap();
  return reply_value(JS_NewString(g_ctx, "{\"ok\":null}"));
}

EXPORT("load") uint64_t load(char *source, uint32_t len) {
  JS_UpdateStackTop(g_rt);
  source[len] = 0;
  JSValue module = JS_Eval(g_ctx, source, len, "actor.js", JS_EVAL_TYPE_MODULE | JS_EVAL_FLAG_COMPILE_ONLY);
  if (JS_IsException(module)) return reply_error("js_syntax");
  JSModuleDef *def = JS_VALUE_GET_PTR(module);
  JSValue done = JS_EvalFunction(g_ctx, module);
  if (JS_IsException(done)) return reply_error("js_threw");
  run_jobs();
  leave_if_finished();
  switch (JS_PromiseState(g_ctx, done)) {
  case JS_PROMISE_REJECTED:
    forget_rejections();
    JS_Throw(g_ctx, JS_PromiseResult(g_ctx, done));
    return reply_error("js_threw");
  case JS_PROMISE_PENDING:
    JS_ThrowTypeError(g_ctx, "the top level awaits something that never comes: nothing outside answers there");
    return reply_error("js_threw");
  default:
    break;
  }
  JS_FreeValue(g_ctx, done);
  JSValue names = must(JS_GetModuleNamespace(g_ctx, def));
  JSValue text = JS_Call(g_ctx, g_bind, JS_UNDEFINED, 1, (JSValueConst *)&names);
  JS_FreeValue(g_ctx, names);
  if (JS_IsException(text)) return reply_error("js_threw");
  run_jobs();
  report_rejections();
  // A collection would touch, and so copy, every page that the actor still shares with its image.
  put_off_collection();
  return reply_value(text);
}

EXPORT("isolate_deliver") uint64_t isolate_deliver(uint8_t *in, uint32_t len) {
  JS_UpdateStackTop(g_rt);
  g_staged_reply.n = g_staged_call.n = 0;
  g_staged_reply_count = g_staged_call_count = 0;
  JSValue turn = must(frame_parse(&g_turn_frame, in, len));
  JS_FreeValue(g_ctx, must(JS_Call(g_ctx, g_enter, JS_UNDEFINED, 1, (JSValueConst *)&turn)));
  JS_FreeValue(g_ctx, turn);
  JSValue header;
  do {
    run_jobs();
    report_rejections();
    leave_if_finished();
    header = must(JS_Call(g_ctx, g_finish, JS_UNDEFINED, 0, NULL));
  } while (JS_IsNull(header));
  g_out.n = 0;
  buf_u32(&g_out, 0);
  buf_string(&g_out, header);
  JS_FreeValue(g_ctx, header);
  put_u32(g_out.p, g_out.n - 4);
  buf_bytes(&g_out, g_staged_reply.p, g_staged_reply.n);
  if (g_staged_reply.cap > KEEP_BYTES) buf_drop(&g_staged_reply);
  if (g_staged_call.cap > KEEP_BYTES) buf_drop(&g_staged_call);
  leave_if_finished();
  return reply(g_out.n);
}

// Math.random only: the seed of hashes must stay, live tables depend on it.
EXPORT("reseed") void reseed(int64_t seed) { g_ctx->random_state = seed ? (uint64_t)seed : 1; }

EXPORT("heap_used") uint32_t heap_used(void) { return (uint32_t)g_heap_used; }

EXPORT("gc") void gc(void) {
  JS_UpdateStackTop(g_rt);
  JS_RunGC(g_rt);
}
