// The thing in C: what `thing.py` and `thing.js` are too.
//
// `isolate.h` settles an event when `on_event` has returned, and none for a completion. What waits here makes its event
// look like a completion, and makes the completion that ends the wait look like the event.
#include "isolate.h"

ISOLATE_MANIFEST("{\"abi\":1,\"codec\":\"json\",\"capabilities\":[\"kv\",\"state\",\"alarm\",\"socket\",\"timer\",\"sleep\",\"destroy\"]}")

enum { WAITS = 32, SOCKETS = 64, ROOM = 64 };

typedef struct {
  char p[ROOM];
  uint32_t n;
} kept;

// What a completion goes on with: `what` is "action", "socket_message" or "hold".
typedef struct {
  int64_t call;
  kept what, id, text;
} wait_row;

static wait_row waits[WAITS];
static kept opened[SOCKETS], self_id, self_name, self_key;
static int64_t generation, holds;
static uint32_t opened_count;
static iso_str failed;

static kept keep(iso_str s) {
  kept k = {.n = s.n < ROOM ? s.n : ROOM};
  iso_copy(k.p, s.p, k.n);
  return k;
}

static iso_str text_of(const kept *k) { return (iso_str){k->p, k->n}; }
static iso_str ask(iso_buf *q) { failed = (iso_str){0, 0}; return iso_call(q, &failed); }
static iso_str arg(iso_event *e, uint32_t i) { return iso_item(iso_member(e->raw, "args"), i); }
static iso_str targ(iso_event *e, uint32_t i) { return iso_text(arg(e, i)); }

#define PUTS(literal) iso_puts(&q, literal)
#define RESULT(literal) iso_puts(&event->result, literal)

static iso_str join(iso_str a, iso_str b) {
  iso_buf out = {0};
  iso_put(&out, a);
  iso_put(&out, b);
  return iso_slice(&out);
}

static iso_str number(int64_t v) {
  iso_buf out = {0};
  iso_put_int(&out, v);
  return iso_slice(&out);
}

static void note(iso_str what) {
  bool found;
  iso_str notes = iso_kv_get(iso_lit("notes"), &found);
  if (found) what = join(join(notes, iso_lit(";")), what);
  iso_kv_put(iso_lit("notes"), what);
}

static int64_t now(void) {
  iso_buf q = {0};
  PUTS("{\"call\":\"now\"}");
  return iso_int(ask(&q));
}

static iso_str state(void) {
  iso_buf q = {0};
  PUTS("{\"call\":\"state_get\"}");
  return ask(&q);
}

static void put_state(int64_t count, iso_str made) {
  iso_buf q = {0};
  PUTS("{\"call\":\"state_put\",\"value\":{\"count\":");
  iso_put_int(&q, count);
  PUTS(",\"made\":");
  iso_put(&q, made);
  PUTS("}}");
  ask(&q);
}

static int64_t add(int64_t by) {
  iso_str old = state();
  int64_t count = iso_int(iso_member(old, "count")) + by;
  put_state(count, iso_member(old, "made"));
  return count;
}

// --- waiting --------------------------------------------------------------------------------------------------------

static void settles_nothing(iso_event *event) { event->type = iso_lit("completion"); }

static void wait_for(iso_event *event, int64_t ms, iso_str what, iso_str text) {
  iso_buf q = {0};
  PUTS("{\"call\":\"timer\",\"after\":");
  iso_put_int(&q, ms);
  PUTS("}");
  iso_str started = ask(&q);
  for (int i = 0; i < WAITS; i++)
    if (!waits[i].call) {
      waits[i] = (wait_row){iso_int(iso_member(started, "call")), keep(what), keep(event->id), keep(text)};
      return;
    }
  iso_abort();
}

static void keep_awake(void) {
  iso_buf q = {0};
  PUTS("{\"call\":\"keep_awake\",\"awake\":");
  iso_put_int(&q, holds);
  PUTS(",\"wait\":0}");
  ask(&q);
}

static void completed(iso_event *event) {
  int64_t call = iso_int(iso_member(event->raw, "call"));
  for (int i = 0; i < WAITS; i++) {
    wait_row *row = &waits[i];
    if (row->call != call) continue;
    row->call = 0;
    iso_str what = text_of(&row->what), text = text_of(&row->text);
    if (iso_is(what, "hold")) {
      note(iso_lit("held"));
      holds--;
      keep_awake();
      return;
    }
    event->type = what;
    event->id = text_of(&row->id);
    if (iso_is(what, "action")) {
      note(join(iso_lit("end "), text));
      iso_text_result(event, text);
    } else {
      iso_send_text(text, iso_lit("waited"));
    }
    return;
  }
}

// --- actions --------------------------------------------------------------------------------------------------------

static void kv_list(iso_event *event, iso_buf *q, bool values) {
  iso_str rows = ask(q), row;
  uint32_t cursor = 0;
  RESULT("[");
  for (bool first = true; iso_next(rows, &cursor, &row); first = false) {
    if (!first) RESULT(",");
    if (values) RESULT("[");
    iso_put_text(&event->result, iso_bytes(iso_item(row, 0)));
    if (!values) continue;
    RESULT(",");
    iso_put_text(&event->result, iso_bytes(iso_item(row, 1)));
    RESULT("]");
  }
  RESULT("]");
}

static void say(iso_str tag, iso_str text) {
  iso_buf q = {0};
  PUTS("{\"call\":\"socket_list\"");
  if (tag.n) {
    PUTS(",\"tag\":");
    iso_put_text(&q, tag);
  }
  PUTS("}");
  iso_str rows = ask(&q), row;
  uint32_t cursor = 0;
  while (iso_next(rows, &cursor, &row)) iso_send_text(iso_text(iso_member(row, "conn")), text);
}

static void action(iso_event *event) {
  iso_str name = iso_text(iso_member(event->raw, "name"));
  iso_buf q = {0};
  if (iso_is(name, "add")) {
    iso_int_result(event, add(iso_int(arg(event, 0))));
  } else if (iso_is(name, "get")) {
    iso_put(&event->result, state());
  } else if (iso_is(name, "notes")) {
    iso_text_result(event, iso_kv_get(iso_lit("notes"), 0));
  } else if (iso_is(name, "refuse")) {
    add(1);
    iso_puts(&event->error,
             "{\"group\":\"user\",\"code\":\"closed\",\"message\":\"not today\",\"metadata\":{\"until\":5}}");
  } else if (iso_is(name, "break_down")) {
    add(1);
    iso_fail(event, iso_lit("internal"), iso_lit("broken"), iso_lit("a secret"));
  } else if (iso_is(name, "break_starts")) {
    iso_kv_put(iso_lit("broken until"), arg(event, 0));
  } else if (iso_is(name, "put")) {
    iso_kv_put(targ(event, 0), targ(event, 1));
  } else if (iso_is(name, "look_up")) {
    bool found;
    iso_str value = iso_kv_get(targ(event, 0), &found);
    if (found) iso_text_result(event, value);
  } else if (iso_is(name, "remove")) {
    PUTS("{\"call\":\"kv_delete\",\"keys\":[");
    iso_put_bytes(&q, targ(event, 0));
    PUTS("]}");
    ask(&q);
  } else if (iso_is(name, "remove_range")) {
    PUTS("{\"call\":\"kv_delete_range\",\"start\":");
    iso_put_bytes(&q, targ(event, 0));
    PUTS(",\"end\":");
    iso_put_bytes(&q, targ(event, 1));
    PUTS("}");
    ask(&q);
  } else if (iso_is(name, "entries")) {
    PUTS("{\"call\":\"kv_list\",\"prefix\":");
    iso_put_bytes(&q, targ(event, 0));
    PUTS("}");
    kv_list(event, &q, true);
  } else if (iso_is(name, "range")) {
    PUTS("{\"call\":\"kv_list\",\"start\":");
    iso_put_bytes(&q, targ(event, 0));
    PUTS(",\"end\":");
    iso_put_bytes(&q, targ(event, 1));
    PUTS(",\"reverse\":");
    iso_put(&q, arg(event, 2));
    PUTS(",\"limit\":");
    iso_put(&q, arg(event, 3));
    PUTS("}");
    kv_list(event, &q, false);
  } else if (iso_is(name, "put_big")) {
    uint32_t size = (uint32_t)iso_int(arg(event, 0));
    char *zeros = iso_alloc(size);
    for (uint32_t i = 0; i < size; i++) zeros[i] = 0;
    PUTS("{\"call\":\"kv_put\",\"entries\":[[\"Ymln\",");
    iso_put_bytes(&q, (iso_str){zeros, size});
    PUTS("]]}");
    if (ask(&q).p) {
      iso_text_result(event, iso_lit("taken"));
    } else {
      iso_str group = iso_text(iso_member(failed, "group")), code = iso_text(iso_member(failed, "code"));
      iso_text_result(event, join(join(group, iso_lit("/")), code));
    }
  } else if (iso_is(name, "alarm")) {
    PUTS("{\"call\":\"alarm_set\",\"alarm\":");
    iso_put(&q, arg(event, 0));
    PUTS(",\"after\":");
    iso_put(&q, arg(event, 1));
    PUTS(",\"payload\":");
    iso_put(&q, arg(event, 2));
    PUTS("}");
    iso_put(&event->result, iso_member(ask(&q), "at"));
  } else if (iso_is(name, "cancel")) {
    PUTS("{\"call\":\"alarm_cancel\",\"alarm\":");
    iso_put(&q, arg(event, 0));
    PUTS("}");
    iso_put(&event->result, ask(&q));
  } else if (iso_is(name, "pending")) {
    PUTS("{\"call\":\"alarm_list\"}");
    iso_str rows = ask(&q), row;
    uint32_t cursor = 0;
    RESULT("[");
    for (bool first = true; iso_next(rows, &cursor, &row); first = false) {
      if (!first) RESULT(",");
      iso_put(&event->result, iso_member(row, "alarm"));
    }
    RESULT("]");
  } else if (iso_is(name, "wait")) {
    note(join(iso_lit("begin "), targ(event, 1)));
    wait_for(event, iso_int(arg(event, 0)), iso_lit("action"), targ(event, 1));
    settles_nothing(event);
  } else if (iso_is(name, "never")) {
    settles_nothing(event);
  } else if (iso_is(name, "hold")) {
    wait_for(event, iso_int(arg(event, 0)), iso_lit("hold"), iso_lit(""));
    holds++;
    keep_awake();
  } else if (iso_is(name, "doze")) {
    PUTS("{\"call\":\"sleep\"}");
    ask(&q);
  } else if (iso_is(name, "end")) {
    PUTS("{\"call\":\"destroy\"}");
    ask(&q);
    iso_text_result(event, iso_lit("goodbye"));
  } else if (iso_is(name, "noise")) {
    static const char hex[] = "0123456789abcdef";
    PUTS("{\"call\":\"random\",\"len\":");
    iso_put(&q, arg(event, 0));
    PUTS("}");
    iso_str bytes = iso_bytes(ask(&q));
    RESULT("\"");
    for (uint32_t i = 0; i < bytes.n; i++) {
      unsigned char b = (unsigned char)bytes.p[i];
      iso_put(&event->result, (iso_str){&hex[b >> 4], 1});
      iso_put(&event->result, (iso_str){&hex[b & 15], 1});
    }
    RESULT("\"");
  } else if (iso_is(name, "time")) {
    iso_int_result(event, now());
  } else if (iso_is(name, "write")) {
    iso_log(iso_lit("warn"), targ(event, 0));
  } else if (iso_is(name, "who")) {
    RESULT("[");
    iso_put_text(&event->result, text_of(&self_id));
    RESULT(",");
    iso_put_text(&event->result, text_of(&self_name));
    RESULT(",");
    iso_put_text(&event->result, text_of(&self_key));
    RESULT("]");
  } else if (iso_is(name, "creations")) {
    iso_int_result(event, generation);
  } else if (iso_is(name, "say")) {
    say(iso_lit(""), targ(event, 0));
  } else if (iso_is(name, "say_to")) {
    say(targ(event, 0), targ(event, 1));
  } else if (iso_is(name, "trap")) {
    __builtin_trap();
  } else if (iso_is(name, "loop")) {
    for (volatile int spin = 1; spin;) {}
  } else if (iso_is(name, "hoard")) {
    for (;;) iso_alloc(1 << 20);
  } else {
    iso_fail(event, iso_lit("actor"), iso_lit("action_not_found"), iso_lit("there is no such action"));
  }
}

// --- the rest -------------------------------------------------------------------------------------------------------

static void start(iso_event *event) {
  iso_str input = iso_member(event->raw, "input");
  self_id = keep(iso_text(iso_member(event->raw, "actor")));
  self_name = keep(iso_text(iso_member(event->raw, "name")));
  self_key = keep(iso_text(iso_item(iso_member(event->raw, "key"), 0)));
  generation = iso_int(iso_member(event->raw, "generation"));
  if (iso_is(iso_text(iso_member(event->raw, "reason")), "create")) {
    put_state(0, iso_missing(input) ? iso_lit("null") : input);
    note(join(iso_lit("create "), iso_missing(input) ? iso_lit("-") : iso_text(input)));
  } else if (input.n) {
    note(iso_lit("input again"));
  }
  iso_str from = iso_member(event->raw, "from_version");
  if (from.n) note(join(iso_lit("upgrade from "), from));
  note(iso_lit("wake"));
  if (now() < iso_int(iso_kv_get(iso_lit("broken until"), 0)))
    iso_fail(event, iso_lit("internal"), iso_lit("broken"), iso_lit("a secret of the start"));
  RESULT("{\"actions\":[\"add\",\"get\",\"notes\",\"refuse\",\"break_down\",\"break_starts\",\"put\",\"look_up\",\"remove\","
         "\"remove_range\",\"entries\",\"range\",\"put_big\",\"alarm\",\"cancel\",\"pending\",\"wait\",\"never\",\"hold\",\"doze\",\"end\","
         "\"noise\",\"time\",\"write\",\"who\",\"creations\",\"say\",\"say_to\",\"trap\",\"loop\",\"hoard\"]}");
}

static void alarm_due(iso_event *event) {
  int64_t payload = iso_int(iso_member(event->raw, "payload")), attempt = iso_int(iso_member(event->raw, "attempt"));
  if (!attempt) attempt = 1;
  iso_str what = join(iso_lit("alarm "), iso_text(iso_member(event->raw, "alarm")));
  note(join(join(join(what, iso_lit(" ")), number(payload)), join(iso_lit(" "), number(attempt))));
  if (attempt < payload) iso_fail(event, iso_lit("internal"), iso_lit("early"), iso_lit("too early"));
}

static void request(iso_event *event) {
  iso_str path = iso_text(iso_member(event->raw, "path")), header, asked = iso_lit("-");
  if (iso_is(path, "/fail")) return iso_fail(event, iso_lit("internal"), iso_lit("broken"), iso_lit("a secret"));
  if (iso_is(path, "/refuse")) return iso_fail(event, iso_lit("user"), iso_lit("closed"), iso_lit("not today"));
  uint32_t cursor = 0;
  iso_str headers = iso_member(event->raw, "headers");
  while (iso_next(headers, &cursor, &header))
    if (iso_is(iso_text(iso_item(header, 0)), "x-asked")) asked = iso_text(iso_item(header, 1));
  iso_str text = join(iso_text(iso_member(event->raw, "method")), join(iso_lit(" "), path));
  text = join(text, join(iso_lit(" "), iso_bytes(iso_member(event->raw, "body"))));
  RESULT("{\"status\":201,\"headers\":[[\"x-thing\",");
  iso_put_text(&event->result, asked);
  RESULT("]],\"body\":");
  iso_put_bytes(&event->result, text);
  RESULT("}");
}

// The host's row of a connection.
static iso_str row_of(iso_str conn) {
  iso_buf q = {0};
  PUTS("{\"call\":\"socket_list\"}");
  iso_str rows = ask(&q), row;
  uint32_t cursor = 0;
  while (iso_next(rows, &cursor, &row))
    if (iso_eq(iso_text(iso_member(row, "conn")), conn)) return row;
  return (iso_str){0, 0};
}

static bool opened_here(iso_str conn) {
  for (uint32_t i = 0; i < opened_count; i++)
    if (iso_eq(text_of(&opened[i]), conn)) return true;
  return false;
}

static bool begins(iso_str text, iso_str with) {
  return text.n >= with.n && iso_eq((iso_str){text.p, with.n}, with);
}

static void message(iso_event *event, iso_str conn) {
  iso_str raw = iso_member(event->raw, "text"), text = iso_text(raw);
  iso_buf q = {0};
  if (!raw.n) {
    iso_send_bytes(conn, iso_bytes(iso_member(event->raw, "data")));
  } else if (iso_is(text, "index")) {
    iso_send_text(conn, iso_member(event->raw, "index"));
  } else if (iso_is(text, "seen")) {
    int64_t seen = iso_int(iso_member(row_of(conn), "state")) + 1;
    PUTS("{\"call\":\"socket_set_state\",\"conn\":");
    iso_put_text(&q, conn);
    PUTS(",\"state\":");
    iso_put_int(&q, seen);
    PUTS("}");
    ask(&q);
    iso_send_text(conn, number(seen));
  } else if (begins(text, iso_lit("tag:"))) {
    PUTS("{\"call\":\"socket_set_tags\",\"conn\":");
    iso_put_text(&q, conn);
    PUTS(",\"tags\":[");
    iso_put_text(&q, (iso_str){text.p + 4, text.n - 4});
    PUTS("]}");
    ask(&q);
  } else if (iso_is(text, "restored")) {
    iso_send_text(conn, opened_here(conn) ? iso_lit("no") : iso_lit("yes"));
  } else if (iso_is(text, "params")) {
    iso_send_text(conn, iso_text(iso_member(row_of(conn), "params")));
  } else if (begins(text, iso_lit("wait:"))) {
    wait_for(event, iso_int((iso_str){text.p + 5, text.n - 5}), iso_lit("socket_message"), conn);
    settles_nothing(event);
  } else if (iso_is(text, "throw")) {
    iso_send_text(conn, iso_lit("before"));
    iso_fail(event, iso_lit("internal"), iso_lit("broken"), iso_lit("a secret"));
  } else if (iso_is(text, "doze")) {
    PUTS("{\"call\":\"sleep\"}");
    ask(&q);
  } else if (iso_is(text, "bye")) {
    iso_send_text(conn, iso_lit("last"));
    PUTS("{\"call\":\"socket_close\",\"conn\":");
    iso_put_text(&q, conn);
    PUTS(",\"code\":4000,\"reason\":\"bye\"}");
    ask(&q);
  } else {
    iso_send_text(conn, text);
  }
}

void on_event(iso_event *event) {
  iso_str conn = iso_text(iso_member(event->raw, "conn"));
  if (iso_is(event->type, "start")) {
    start(event);
  } else if (iso_is(event->type, "stop")) {
    bool ends = iso_is(iso_text(iso_member(event->raw, "reason")), "destroy");
    note(ends ? iso_lit("destroyed") : iso_lit("sleep"));
    if (ends) iso_log(iso_lit("info"), iso_kv_get(iso_lit("notes"), 0));
  } else if (iso_is(event->type, "action")) {
    action(event);
  } else if (iso_is(event->type, "request")) {
    request(event);
  } else if (iso_is(event->type, "alarm")) {
    alarm_due(event);
  } else if (iso_is(event->type, "completion")) {
    completed(event);
  } else if (iso_is(event->type, "socket_opened")) {
    if (iso_is(iso_text(iso_member(event->raw, "path")), "/refuse"))
      return iso_fail(event, iso_lit("user"), iso_lit("no_entry"), iso_lit("not you"));
    opened[opened_count++ % SOCKETS] = keep(conn);
    iso_send_text(conn, iso_lit("welcome"));
  } else if (iso_is(event->type, "socket_message")) {
    message(event, conn);
  } else if (iso_is(event->type, "socket_closed")) {
    iso_str what = join(iso_lit("closed "), iso_member(event->raw, "code"));
    what = join(join(what, iso_lit(" ")), iso_text(iso_member(event->raw, "reason")));
    note(join(what, iso_is(iso_member(event->raw, "clean"), "true") ? iso_lit(" clean") : iso_lit(" lost")));
  }
}
