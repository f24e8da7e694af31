// Modules: "isolate" and "rivetkit" are the SDK; nothing else can be imported, and nothing is fetched.

static char *module_name(JSContext *ctx, const char *base, const char *name, void *opaque) {
  (void)base;
  (void)opaque;
  return js_strdup(ctx, name);
}

static int module_init(JSContext *ctx, JSModuleDef *m) {
  JSPropertyEnum *names;
  uint32_t count, i;
  int r = JS_GetOwnPropertyNames(ctx, &names, &count, g_sdk, JS_GPN_STRING_MASK);
  if (r) return r;
  for (i = 0; i < count && !r; i++) {
    const char *name = JS_AtomToCString(ctx, names[i].atom);
    r = name ? JS_SetModuleExport(ctx, m, name, JS_GetProperty(ctx, g_sdk, names[i].atom)) : -1;
    JS_FreeCString(ctx, name);
  }
  JS_FreePropertyEnum(ctx, names, count);
  return r;
}

static JSModuleDef *module_load(JSContext *ctx, const char *specifier, void *opaque) {
  JSPropertyEnum *names;
  uint32_t count, i;
  (void)opaque;
  if (strcmp(specifier, "isolate") && strcmp(specifier, "rivetkit")) {
    JS_ThrowReferenceError(ctx, "cannot import '%.100s': an actor module can import \"rivetkit\" and \"isolate\" only",
                           specifier);
    return NULL;
  }
  JSModuleDef *m = JS_NewCModule(ctx, specifier, module_init);
  if (!m || JS_GetOwnPropertyNames(ctx, &names, &count, g_sdk, JS_GPN_STRING_MASK)) return NULL;
  for (i = 0; i < count; i++) {
    const char *name = JS_AtomToCString(ctx, names[i].atom);
    if (name) JS_AddModuleExport(ctx, m, name);
    JS_FreeCString(ctx, name);
  }
  JS_FreePropertyEnum(ctx, names, count);
  return m;
}
