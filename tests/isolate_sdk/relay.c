// A guest in C for the tests: asks another actor, or a server, and answers with what came back.
#include "isolate.h"

ISOLATE_MANIFEST("{\"abi\":1,\"codec\":\"json\",\"capabilities\":[\"fetch\",\"actor_call\"]}")

// The actions in work: which event waits for which call.
enum { MOST = 8 };
static struct {
  int64_t call, event;
} waiting[MOST];

static void action(iso_event *event) {
  iso_str name = iso_text(iso_member(event->raw, "name")), args = iso_member(event->raw, "args");
  iso_str to = iso_text(iso_item(args, 0));
  int64_t call = iso_is(name, "get") ? iso_fetch(iso_lit("POST"), to, iso_text(iso_item(args, 1)))
                                     : iso_actor_call(iso_lit("room"), to, iso_lit("say"), args);
  for (int i = 0; i < MOST && call; i++) {
    if (waiting[i].call) continue;
    waiting[i].call = call;
    waiting[i].event = iso_later(event);
    return;
  }
  iso_fail(event, iso_lit("user"), iso_lit("refused"), iso_lit("the call was not taken"));
}

static void completion(iso_event *event) {
  int64_t call = iso_int(iso_member(event->raw, "call"));
  iso_str body = iso_member(event->raw, "body"), error = iso_member(event->raw, "error");
  for (int i = 0; i < MOST; i++) {
    if (!call || waiting[i].call != call) continue;
    iso_buf text = {0};
    if (body.n) iso_put_text(&text, iso_bytes(body));
    iso_settle(waiting[i].event, body.n ? iso_slice(&text) : iso_member(event->raw, "result"), error);
    waiting[i].call = 0;
  }
}

void on_event(iso_event *event) {
  if (iso_is(event->type, "action")) action(event);
  if (iso_is(event->type, "completion")) completion(event);
}
