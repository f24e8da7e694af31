// Values: JSON with tags, written and revived in C because every turn of every actor goes through here.
//
// Written text is well-formed UTF-8 and at most VALUE_DEPTH brackets deep (the host scans envelopes to 32). What has no
// place in JSON is an error that names it, never a silent {}: a Promise there is a forgotten await.

#define VALUE_DEPTH 28

enum { WIRE = 0, STATE = 1 };

typedef struct {
  Buf out;
  int mode, depth;
  void *above[VALUE_DEPTH + 1];
} Writer;

static JSValue g_bigint, g_map, g_map_set, g_set, g_set_add, g_dataview;
static JSAtom g_atom_to_json;

static JSValue member_of(JSValueConst object, const char *name) {
  return JS_GetPropertyStr(g_ctx, object, name);
}

static void values_init(void) {
  JSValue global = JS_GetGlobalObject(g_ctx);
  g_bigint = member_of(global, "BigInt");
  g_map = member_of(global, "Map");
  g_set = member_of(global, "Set");
  g_dataview = member_of(global, "DataView");
  JSValue proto = member_of(g_map, "prototype");
  g_map_set = member_of(proto, "set");
  JS_FreeValue(g_ctx, proto);
  proto = member_of(g_set, "prototype");
  g_set_add = member_of(proto, "add");
  JS_FreeValue(g_ctx, proto);
  JS_FreeValue(g_ctx, global);
  g_atom_to_json = JS_NewAtom(g_ctx, "toJSON");
}

static const char *const typed_names[] = {
    "Uint8ClampedArray", "Int8Array", "Uint8Array", "Int16Array", "Uint16Array", "Int32Array", "Uint32Array",
    "BigInt64Array", "BigUint64Array", "Float16Array", "Float32Array", "Float64Array",
};

static int write_value(Writer *w, JSValueConst v);

static int write_tagged_bytes(Writer *w, const char *tag, const uint8_t *p, size_t n) {
  buf_text(&w->out, "[\"");
  buf_text(&w->out, tag);
  buf_text(&w->out, "\",\"");
  buf_base64(&w->out, p, n);
  buf_text(&w->out, "\"]");
  return 0;
}

static int write_bytes(Writer *w, JSValueConst v, const uint8_t *p, size_t n) {
  JSClassID id = JS_VALUE_GET_OBJ(v)->class_id;
  if (id == JS_CLASS_UINT8_ARRAY) return write_tagged_bytes(w, "$Uint8Array", p, n);
  if (id == JS_CLASS_ARRAY_BUFFER || id == JS_CLASS_SHARED_ARRAY_BUFFER)
    return write_tagged_bytes(w, "$ArrayBuffer", p, n);
  const char *name = id == JS_CLASS_DATAVIEW ? "DataView" : typed_names[id - JS_CLASS_UINT8C_ARRAY];
  if (w->mode != STATE) {
    JS_ThrowTypeError(g_ctx, "a %s can be kept in state only; send a Uint8Array", name);
    return -1;
  }
  buf_text(&w->out, "[\"$Typed\",[\"");
  buf_text(&w->out, name);
  buf_text(&w->out, "\",\"");
  buf_base64(&w->out, p, n);
  buf_text(&w->out, "\"]]");
  return 0;
}

// Items are taken before any of them is written: writing may run a toJSON of the tenant, which may change the set.
static int write_collection(Writer *w, JSObject *o, bool map) {
  JSMapState *s = o->u.map_state;
  struct list_head *el;
  uint32_t count = 0, i;
  JSValue *items = malloc(sizeof(JSValue) * (2 * s->record_count + 1));
  int r = 0;
  if (!items) __wasi_proc_exit(EXIT_MEMORY);
  list_for_each(el, &s->records) {
    JSMapRecord *record = list_entry(el, JSMapRecord, link);
    if (record->empty) continue;
    items[count++] = js_dup(record->key);
    if (map) items[count++] = js_dup(record->value);
  }
  buf_text(&w->out, map ? "[\"$Map\",[" : "[\"$Set\",[");
  for (i = 0; i < count && !r; i++) {
    if (i && !(map && i % 2)) buf_text(&w->out, ",");
    if (map) buf_text(&w->out, i % 2 ? "," : "[");
    r = write_value(w, items[i]);
    if (map && i % 2) buf_text(&w->out, "]");
  }
  buf_text(&w->out, "]]");
  for (i = 0; i < count; i++) JS_FreeValue(g_ctx, items[i]);
  free(items);
  return r;
}

static int write_array(Writer *w, JSValueConst v) {
  int64_t len, i;
  if (JS_GetLength(g_ctx, v, &len)) return -1;
  buf_text(&w->out, "[");
  for (i = 0; i < len; i++) {
    JSValue item = JS_GetPropertyInt64(g_ctx, v, i);
    if (JS_IsException(item)) return -1;
    if (i) buf_text(&w->out, ",");
    int r;
    size_t n;
    const char *s = i == 0 && len == 2 && JS_IsString(item) ? JS_ToCStringLen(g_ctx, &n, item) : NULL;
    if (s && s[0] == '$') {
      // A real pair that looks like a tag gets one more $.
      Buf escaped = {0};
      buf_text(&escaped, "$");
      buf_bytes(&escaped, s, n);
      quote_bytes(&w->out, escaped.p, escaped.n);
      buf_drop(&escaped);
      r = 0;
    } else {
      r = write_value(w, item);
    }
    JS_FreeCString(g_ctx, s);
    JS_FreeValue(g_ctx, item);
    if (r) return r;
  }
  buf_text(&w->out, "]");
  return 0;
}

static int write_members(Writer *w, JSValueConst v) {
  JSPropertyEnum *names;
  uint32_t count, i;
  int r = 0;
  if (JS_GetOwnPropertyNames(g_ctx, &names, &count, v, JS_GPN_STRING_MASK | JS_GPN_ENUM_ONLY)) return -1;
  buf_text(&w->out, "{");
  for (i = 0; i < count && !r; i++) {
    JSValue item = JS_GetProperty(g_ctx, v, names[i].atom);
    if (JS_IsException(item)) {
      r = -1;
      break;
    }
    size_t n;
    const char *name = JS_AtomToCStringLen(g_ctx, &n, names[i].atom);
    if (i) buf_text(&w->out, ",");
    if (name) quote_bytes(&w->out, (const uint8_t *)name, n);
    else r = -1;
    JS_FreeCString(g_ctx, name);
    buf_text(&w->out, ":");
    if (!r) r = write_value(w, item);
    JS_FreeValue(g_ctx, item);
  }
  buf_text(&w->out, "}");
  JS_FreePropertyEnum(g_ctx, names, count);
  return r;
}

static int write_object_inner(Writer *w, JSValueConst v) {
  JSObject *o = JS_VALUE_GET_OBJ(v);
  const uint8_t *p;
  size_t n;
  if (bytes_of(v, &p, &n)) return write_bytes(w, v, p, n);
  switch (o->class_id) {
  case JS_CLASS_SET:
    return write_collection(w, o, false);
  case JS_CLASS_MAP:
    if (w->mode == STATE) return write_collection(w, o, true);
    JS_ThrowTypeError(g_ctx, "a Map can be kept in state only; send Object.fromEntries(map)");
    return -1;
  case JS_CLASS_PROMISE:
    JS_ThrowTypeError(g_ctx, "a Promise cannot be part of a value: is an await missing?");
    return -1;
  case JS_CLASS_NUMBER: case JS_CLASS_STRING: case JS_CLASS_BOOLEAN: case JS_CLASS_BIG_INT:
    return write_value(w, o->u.object_data);
  case JS_CLASS_DATE:
    if (w->mode == STATE) {
      double t = 0;
      JS_ToFloat64(g_ctx, &t, o->u.object_data);
      char text[64];
      if (isnan(t)) snprintf(text, sizeof text, "[\"$Date\",null]");
      else snprintf(text, sizeof text, "[\"$Date\",%.0f]", t);
      buf_text(&w->out, text);
      return 0;
    }
    break;
  default:
    break;
  }
  if (JS_IsFunction(g_ctx, v)) {
    JS_ThrowTypeError(g_ctx, "a function cannot be part of a value");
    return -1;
  }
  JSValue to_json = JS_GetProperty(g_ctx, v, g_atom_to_json);
  if (JS_IsException(to_json)) return -1;
  if (JS_IsFunction(g_ctx, to_json)) {
    JSValue key = JS_NewString(g_ctx, "");
    JSValue shown = JS_Call(g_ctx, to_json, v, 1, (JSValueConst *)&key);
    JS_FreeValue(g_ctx, key);
    JS_FreeValue(g_ctx, to_json);
    if (JS_IsException(shown)) return -1;
    int r = write_value(w, shown);
    JS_FreeValue(g_ctx, shown);
    return r;
  }
  JS_FreeValue(g_ctx, to_json);
  return JS_IsArray(target_of(v)) ? write_array(w, v) : write_members(w, v);
}

static int write_object(Writer *w, JSValueConst v) {
  v = behind_proxy(v);
  void *self = JS_VALUE_GET_PTR(v);
  for (int i = 0; i < w->depth; i++) {
    if (w->above[i] != self) continue;
    JS_ThrowTypeError(g_ctx, "a value must not contain itself");
    return -1;
  }
  if (w->depth >= VALUE_DEPTH) {
    JS_ThrowRangeError(g_ctx, "a value must not be nested deeper than %d", VALUE_DEPTH);
    return -1;
  }
  // Tags are a bracket more than the object shows.
  int levels = JS_VALUE_GET_OBJ(v)->class_id == JS_CLASS_MAP ? 3 : JS_VALUE_GET_OBJ(v)->class_id == JS_CLASS_SET ? 2 : 1;
  if (w->depth + levels > VALUE_DEPTH) levels = VALUE_DEPTH - w->depth;
  for (int i = 0; i < levels; i++) w->above[w->depth + i] = self;
  w->depth += levels;
  int r = write_object_inner(w, v);
  w->depth -= levels;
  return r;
}

static int write_value(Writer *w, JSValueConst v) {
  char text[64];
  if (JS_IsString(v)) return quote_string(&w->out, v) ? 0 : -1;
  switch (JS_VALUE_GET_NORM_TAG(v)) {
  case JS_TAG_INT:
    snprintf(text, sizeof text, "%d", JS_VALUE_GET_INT(v));
    buf_text(&w->out, text);
    return 0;
  case JS_TAG_BOOL:
    buf_text(&w->out, JS_VALUE_GET_BOOL(v) ? "true" : "false");
    return 0;
  case JS_TAG_NULL:
    buf_text(&w->out, "null");
    return 0;
  case JS_TAG_UNDEFINED:
    buf_text(&w->out, "[\"$Undefined\",0]");
    return 0;
  case JS_TAG_FLOAT64:
    if (isfinite(JS_VALUE_GET_FLOAT64(v))) buf_string(&w->out, v);
    else buf_text(&w->out, "null");
    return 0;
  case JS_TAG_SHORT_BIG_INT:
  case JS_TAG_BIG_INT:
    buf_text(&w->out, "[\"$BigInt\",\"");
    buf_string(&w->out, v);
    buf_text(&w->out, "\"]");
    return 0;
  case JS_TAG_OBJECT:
    return write_object(w, v);
  case JS_TAG_SYMBOL:
    JS_ThrowTypeError(g_ctx, "a symbol cannot be part of a value");
    return -1;
  default:
    JS_ThrowTypeError(g_ctx, "this cannot be part of a value");
    return -1;
  }
}

// --- reviving -----------------------------------------------------------------------------------------------------

static JSValue revive(JSValue v);

static JSValue revive_typed(JSValueConst pair) {
  JSValue name = JS_GetPropertyUint32(g_ctx, pair, 0), text = JS_GetPropertyUint32(g_ctx, pair, 1);
  JSValue buffer = base64_array(text, true), made = JS_UNDEFINED;
  const char *s = JS_ToCString(g_ctx, name);
  if (s && !JS_IsException(buffer)) {
    if (!strcmp(s, "DataView")) made = JS_CallConstructor(g_ctx, g_dataview, 1, (JSValueConst *)&buffer);
    for (size_t i = 0; i < countof(typed_names); i++)
      if (!strcmp(s, typed_names[i])) made = JS_NewTypedArray(g_ctx, 1, (JSValueConst *)&buffer, i);
  } else {
    made = JS_EXCEPTION;
  }
  JS_FreeCString(g_ctx, s);
  JS_FreeValue(g_ctx, name);
  JS_FreeValue(g_ctx, text);
  JS_FreeValue(g_ctx, buffer);
  return made;
}

static JSValue revive_collection(JSValueConst list, bool map) {
  int64_t len = 0;
  if (!JS_IsArray(list)) return JS_ThrowTypeError(g_ctx, "malformed value: a collection without a list");
  JSValue made = JS_CallConstructor(g_ctx, map ? g_map : g_set, 0, NULL);
  if (JS_IsException(made) || JS_GetLength(g_ctx, list, &len)) return made;
  for (int64_t i = 0; i < len; i++) {
    JSValue item = JS_GetPropertyInt64(g_ctx, list, i), argv[2] = {JS_UNDEFINED, JS_UNDEFINED}, r = JS_EXCEPTION;
    if (map) {
      argv[0] = revive(JS_GetPropertyUint32(g_ctx, item, 0));
      if (!JS_IsException(argv[0])) argv[1] = revive(JS_GetPropertyUint32(g_ctx, item, 1));
      JS_FreeValue(g_ctx, item);
    } else {
      argv[0] = revive(item);
    }
    if (!JS_IsException(argv[0]) && !JS_IsException(argv[1]))
      r = JS_Call(g_ctx, map ? g_map_set : g_set_add, made, map ? 2 : 1, (JSValueConst *)argv);
    JS_FreeValue(g_ctx, argv[0]);
    JS_FreeValue(g_ctx, argv[1]);
    JS_FreeValue(g_ctx, r);
    if (JS_IsException(r)) {
      JS_FreeValue(g_ctx, made);
      return JS_EXCEPTION;
    }
  }
  return made;
}

// The value that the pair [tag, item] stands for, or JS_UNINITIALIZED if it is no tag.
static JSValue revive_tag(const char *tag, JSValueConst item) {
  if (!strcmp(tag, "$Undefined")) return JS_UNDEFINED;
  if (!strcmp(tag, "$BigInt")) return JS_Call(g_ctx, g_bigint, JS_UNDEFINED, 1, &item);
  if (!strcmp(tag, "$Uint8Array")) return base64_array(item, false);
  if (!strcmp(tag, "$ArrayBuffer")) return base64_array(item, true);
  if (!strcmp(tag, "$Set")) return revive_collection(item, false);
  if (!strcmp(tag, "$Map")) return revive_collection(item, true);
  if (!strcmp(tag, "$Typed")) return revive_typed(item);
  if (!strcmp(tag, "$Date")) {
    double t;
    if (JS_IsNull(item)) t = NAN;
    else if (JS_ToFloat64(g_ctx, &t, item)) return JS_EXCEPTION;
    return JS_NewDate(g_ctx, t);
  }
  return JS_UNINITIALIZED;
}

// Takes a parsed JSON tree and gives it back with its tags turned into what they stand for.
static JSValue revive(JSValue v) {
  int64_t len, i;
  if (!JS_IsObject(v)) return v;
  if (JS_IsArray(v)) {
    if (JS_GetLength(g_ctx, v, &len)) goto fail;
    if (len == 2) {
      JSValue first = JS_GetPropertyUint32(g_ctx, v, 0);
      const char *tag = JS_IsString(first) ? JS_ToCString(g_ctx, first) : NULL;
      if (tag && tag[0] == '$') {
        JSValue made = JS_UNINITIALIZED;
        if (tag[1] == '$') {
          JS_DefinePropertyValueUint32(g_ctx, v, 0, JS_NewString(g_ctx, tag + 1), JS_PROP_C_W_E);
        } else {
          JSValue item = JS_GetPropertyUint32(g_ctx, v, 1);
          made = revive_tag(tag, item);
          JS_FreeValue(g_ctx, item);
        }
        JS_FreeCString(g_ctx, tag);
        JS_FreeValue(g_ctx, first);
        if (!JS_IsUninitialized(made)) {
          JS_FreeValue(g_ctx, v);
          return made;
        }
      } else {
        JS_FreeCString(g_ctx, tag);
        JS_FreeValue(g_ctx, first);
      }
    }
    for (i = 0; i < len; i++) {
      JSValue item = JS_GetPropertyInt64(g_ctx, v, i);
      if (!JS_IsObject(item)) {
        JS_FreeValue(g_ctx, item);
        continue;
      }
      item = revive(item);
      if (JS_IsException(item)) goto fail;
      JS_DefinePropertyValueUint32(g_ctx, v, (uint32_t)i, item, JS_PROP_C_W_E);
    }
    return v;
  }
  JSPropertyEnum *names;
  uint32_t count, k;
  if (JS_GetOwnPropertyNames(g_ctx, &names, &count, v, JS_GPN_STRING_MASK)) goto fail;
  for (k = 0; k < count; k++) {
    JSValue item = JS_GetProperty(g_ctx, v, names[k].atom);
    if (!JS_IsObject(item)) {
      JS_FreeValue(g_ctx, item);
      continue;
    }
    item = revive(item);
    if (JS_IsException(item)) {
      JS_FreePropertyEnum(g_ctx, names, count);
      goto fail;
    }
    JS_DefinePropertyValue(g_ctx, v, names[k].atom, item, JS_PROP_C_W_E);
  }
  JS_FreePropertyEnum(g_ctx, names, count);
  return v;
fail:
  JS_FreeValue(g_ctx, v);
  return JS_EXCEPTION;
}
