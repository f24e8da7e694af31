// The actor that most cases talk to: an action for each thing that a client may want to see.
import { actor, UserError } from "rivetkit";

interface Input {
  start?: number;
}

interface Made {
  count: number;
  input: unknown;
}

const later = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export default actor({
  createState: (_c, input?: Input): Made => ({ count: input?.start ?? 0, input: input ?? null }),
  createVars: () => ({ resolve: undefined as undefined | ((value: string) => void) }),
  actions: {
    increment: (c, by: number = 1): number => (c.state.count += by),
    count: (c): number => c.state.count,
    input: (c): unknown => c.state.input,
    key: (c): string[] => c.key,
    name: (c): string => c.name,
    id: (c): string => c.actorId,
    echo: (_c, ...args: unknown[]): unknown => args[0],
    args: (_c, ...args: unknown[]): unknown[] => args,
    nothing: (): void => {},
    kindOf: (_c, value: unknown): string =>
      value === null ? "null" : (value as object)?.constructor?.name ?? typeof value,
    length: (_c, value: string | Uint8Array): number => value.length,
    repeat: (_c, text: string, times: number): string => text.repeat(times),
    wait: (c): Promise<string> => new Promise((resolve) => (c.vars.resolve = resolve)),
    release(c, value: string): boolean {
      c.vars.resolve?.(value);
      return c.vars.resolve !== undefined;
    },
    async slow(_c, ms: number, value: unknown): Promise<unknown> {
      await later(ms);
      return value;
    },
    refuse: (): never => {
      throw new UserError("not that one", { code: "not_that", metadata: { tried: 3, why: ["a", null] } });
    },
    refuseShortly: (): never => {
      throw new UserError("no");
    },
    crash: (): never => {
      throw new Error("the secret is 1234");
    },
    async refuseLater(): Promise<never> {
      await later(1);
      throw new UserError("too late", { code: "late" });
    },
    sleep: (c): void => c.sleep(),
    destroy: (c): void => c.destroy(),
  },
  onRequest(_c, request: Request): Response | Promise<Response> {
    const url = new URL(request.url);
    if (url.pathname === "/teapot") return new Response("short and stout", { status: 418 });
    if (url.pathname === "/twice") {
      const headers = new Headers({ "set-cookie": "a=1" });
      headers.append("link", "</a>; rel=x");
      headers.append("link", "</b>; rel=y");
      return new Response(null, { headers });
    }
    if (url.pathname === "/bytes") return request.arrayBuffer().then((body) => new Response(body));
    if (url.pathname === "/crash") throw new Error("the secret is 1234");
    return request.text().then(
      (body) =>
        new Response(
          JSON.stringify({
            method: request.method,
            path: url.pathname,
            query: url.search,
            header: request.headers.get("x-mine"),
            body,
          }),
          { status: 201, headers: { "content-type": "application/json", "x-yours": "seen" } },
        ),
    );
  },
  onWebSocket(c, socket) {
    const url = new URL(socket.url);
    socket.addEventListener("open", () => socket.send(JSON.stringify({ path: url.pathname, query: url.search })));
    socket.addEventListener("message", (event: MessageEvent & { rivetMessageIndex: number }) => {
      if (event.data === "close") socket.close(4321, "as you wish");
      else if (event.data === "index") socket.send(String(event.rivetMessageIndex));
      else socket.send(event.data);
      c.state.count += 1;
    });
  },
});
