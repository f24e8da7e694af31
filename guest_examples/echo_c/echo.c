// An actor in C on isolate ABI 1: it echoes what its sockets send, and counts greetings in KV.
#include "isolate.h"

// The host reads this section before it runs anything. What is not listed here is not granted.
ISOLATE_MANIFEST("{\"abi\":1,\"codec\":\"json\",\"capabilities\":[\"kv\",\"socket\"],\"name\":\"echo_c\"}")

// The guest's own memory is gone after a sleep; KV is not.
static int64_t count_one_more(void) {
  iso_str key = iso_lit("greetings");
  int64_t count = iso_int(iso_kv_get(key, 0)) + 1;
  iso_buf text = {0};
  iso_put_int(&text, count);
  return iso_kv_put(key, iso_slice(&text)) ? count : -1;
}

static void greet(iso_event *event) {
  iso_str name = iso_text(iso_item(iso_member(event->raw, "args"), 0));
  if (!name.n) {
    iso_fail(event, iso_lit("user"), iso_lit("no_name"), iso_lit("greet takes a name"));
    return;
  }
  int64_t count = count_one_more();
  if (count < 0) {
    iso_fail(event, iso_lit("internal"), iso_lit("kv"), iso_lit("the count could not be written"));
    return;
  }
  iso_buf text = {0};
  iso_puts(&text, "hello ");
  iso_put(&text, name);
  iso_puts(&text, ", you are number ");
  iso_put_int(&text, count);
  iso_text_result(event, iso_slice(&text));
}

static void echo(iso_event *event) {
  iso_str conn = iso_text(iso_member(event->raw, "conn"));
  iso_str text = iso_member(event->raw, "text");
  if (text.n) iso_send_text(conn, iso_text(text));
  else iso_send_bytes(conn, iso_bytes(iso_member(event->raw, "data")));
}

void on_event(iso_event *event) {
  if (iso_is(event->type, "start")) {
    iso_puts(&event->result, "{\"actions\":[\"greet\"],\"request\":false}");
  } else if (iso_is(event->type, "socket_message")) {
    echo(event);
  } else if (iso_is(event->type, "action")) {
    greet(event);
  }
}
