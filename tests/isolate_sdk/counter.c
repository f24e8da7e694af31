// A guest in C for the tests: a counter in KV, an echo over sockets, and one error of each kind.
#include "isolate.h"

ISOLATE_MANIFEST("{\"abi\":1,\"codec\":\"json\",\"capabilities\":[\"kv\",\"log\",\"socket\",\"destroy\"]}")

static void action(iso_event *event) {
  iso_str name = iso_text(iso_member(event->raw, "name")), args = iso_member(event->raw, "args");
  if (iso_is(name, "add")) {
    int64_t count = iso_int(iso_kv_get(iso_lit("count"), 0)) + iso_int(iso_item(args, 0));
    iso_buf text = {0};
    iso_put_int(&text, count);
    if (!iso_kv_put(iso_lit("count"), iso_slice(&text))) {
      iso_fail(event, iso_lit("internal"), iso_lit("kv"), iso_lit("the counter could not be written"));
      return;
    }
    iso_int_result(event, count);
  } else if (iso_is(name, "shout")) {
    iso_str text = iso_text(iso_item(args, 0));
    iso_log(iso_lit("info"), text);
    iso_text_result(event, text);
  } else if (iso_is(name, "end")) {
    if (iso_destroy()) iso_puts(&event->result, "true");
    else iso_puts(&event->result, "false");
  } else if (iso_is(name, "size")) {
    bool found;
    iso_str value = iso_kv_get(iso_text(iso_item(args, 0)), &found);
    iso_int_result(event, found ? (int64_t)value.n : -1);
  } else {
    iso_fail(event, iso_lit("user"), iso_lit("unknown"), iso_lit("no such action"));
  }
}

void on_event(iso_event *event) {
  if (iso_is(event->type, "start")) {
    iso_puts(&event->result, "{\"actions\":[\"add\",\"shout\",\"size\"],\"request\":false}");
  } else if (iso_is(event->type, "action")) {
    action(event);
  } else if (iso_is(event->type, "socket_message")) {
    iso_str conn = iso_text(iso_member(event->raw, "conn")), text = iso_member(event->raw, "text");
    if (text.n) iso_send_text(conn, iso_text(text));
    else iso_send_bytes(conn, iso_bytes(iso_member(event->raw, "data")));
  }
}
