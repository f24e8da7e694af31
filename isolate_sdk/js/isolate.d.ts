// Types of the modules "isolate" and "rivetkit" (the same exports), and of what an actor finds on the global object.
// Actors are ES modules that import nothing else; add `"types": ["isolate"]` or a reference to this file.

declare module "isolate" {
  /** What crosses the boundary: JSON, and BigInt, Uint8Array, ArrayBuffer, undefined and Set beside it. */
  export type Value =
    | null | undefined | boolean | number | string | bigint | Uint8Array | ArrayBuffer | Set<Value>
    | Value[] | { [name: string]: Value };

  /** What state may hold besides: Map, Date, and every kind of typed array. */
  export type StateValue =
    | Value | Date | Map<StateValue, StateValue> | Set<StateValue> | ArrayBufferView
    | StateValue[] | { [name: string]: StateValue };

  export type Bytes = ArrayBuffer | ArrayBufferView;

  export interface Kv {
    /** One value, or one per key; undefined where there is none. All calls are answered within the turn. */
    get(key: string | Bytes, options?: { type?: "text" }): Promise<string | undefined>;
    get(key: string | Bytes, options: { type: "binary" }): Promise<Uint8Array | undefined>;
    get(key: string | Bytes, options: { type: "arrayBuffer" }): Promise<ArrayBuffer | undefined>;
    get(keys: (string | Bytes)[], options?: { type?: "text" }): Promise<(string | undefined)[]>;
    get(keys: (string | Bytes)[], options: { type: "binary" }): Promise<(Uint8Array | undefined)[]>;
    get(keys: (string | Bytes)[], options: { type: "arrayBuffer" }): Promise<(ArrayBuffer | undefined)[]>;
    put(key: string | Bytes, value: string | Bytes): Promise<void>;
    /** Up to 128 pairs, all or none. */
    put(entries: [string | Bytes, string | Bytes][]): Promise<void>;
    delete(key: string | Bytes | (string | Bytes)[]): Promise<void>;
    /** By prefix, or from `start` up to but not including `end`; whole keys in byte order; at most `limit` (1,000). */
    list(prefix?: string | Bytes | null, options?: KvListOptions & { type?: "text" }): Promise<[string, string][]>;
    list(prefix: string | Bytes | null, options: KvListOptions & { type: "binary" }): Promise<[string, Uint8Array][]>;
    list(prefix: string | Bytes | null, options: KvListOptions & { type: "arrayBuffer" }): Promise<[string, ArrayBuffer][]>;
    deleteRange(start: string | Bytes, end: string | Bytes): Promise<void>;
    /** RivetKit's words for the same; null where there is none. */
    batchPut(entries: [string | Bytes, string | Bytes][]): Promise<void>;
    batchGet(keys: (string | Bytes)[]): Promise<(Uint8Array | null)[]>;
    batchDelete(keys: (string | Bytes)[]): Promise<void>;
    listPrefix(prefix: string | Bytes, options?: KvListOptions): Promise<[string, string][]>;
    listRange(start: string | Bytes, end: string | Bytes, options?: KvListOptions): Promise<[string, string][]>;
  }

  export interface KvListOptions {
    start?: string | Bytes;
    end?: string | Bytes;
    reverse?: boolean;
    limit?: number;
  }

  export interface Schedule {
    /** Runs an action of this actor later; it survives sleep and restarts. Gives back the id for `cancel`. */
    after(ms: number, action: string, ...args: Value[]): Promise<string>;
    at(timestamp: number | Date, action: string, ...args: Value[]): Promise<string>;
    cancel(id: string): Promise<boolean>;
    get(id: string): Promise<ScheduledAction | undefined>;
    list(): Promise<ScheduledAction[]>;
  }

  export interface ScheduledAction {
    id: string;
    action: string;
    args: Value[];
    runAt: number;
  }

  /** What an action that runs by itself gets as its last argument. (`id`, `scheduledAt`) is the same at every attempt
   *  of one run, and of no other. */
  export interface ScheduledFire {
    kind: "at" | "cron" | "every";
    id: string;
    /** Of a cron. */
    name?: string;
    scheduledAt: number;
    firedAt: number;
    /** Counts from 1. */
    attempt: number;
  }

  export interface Cron {
    /** Runs an action whenever the clock of the time zone (UTC without one) shows a time of the expression: minute, hour,
     *  day-of-month, month, day-of-week. One that is set again with the same times keeps its place in them. */
    set(options: CronOptions & { expression: string; timezone?: string }): Promise<void>;
    /** Runs an action every `interval` ms (5,000 at least) from now, however late any run was. */
    every(options: CronOptions & { interval: number }): Promise<void>;
    get(name: string): Promise<CronJob | undefined>;
    list(): Promise<CronJob[]>;
    /** With its history. */
    delete(name: string): Promise<boolean>;
    /** The latest first. */
    history(name: string, options?: { limit?: number }): Promise<CronFire[]>;
  }

  export interface CronOptions {
    name: string;
    action: string;
    args?: Value[];
    /** How many of its runs are kept, up to 100 (the default). */
    maxHistory?: number;
  }

  export type CronJob = {
    name: string;
    action: string;
    args: Value[];
    /** Of the run that is in work or comes next. */
    nextRunAt: number;
    lastRunAt?: number;
    maxHistory: number;
  } & ({ kind: "cron"; expression: string; timezone: string } | { kind: "every"; interval: number });

  export interface CronFire {
    action: string;
    scheduledAt: number;
    firedAt: number;
    finishedAt: number;
    /** `skipped`: `count` times in a row, from `scheduledAt` to `until`, came while it was in work or the host down. */
    result: "ok" | "error" | "skipped";
    attempt?: number;
    error?: { group: string; code: string; message: string };
    count?: number;
    until?: number;
  }

  export interface Alarms {
    /** Sets or replaces the alarm of this id; `onAlarm` gets it. Gives back when it is due. */
    set(id: string, options: { at: number | Date; payload?: Value } | { after: number; payload?: Value }): Promise<number>;
    cancel(id: string): Promise<boolean>;
    list(): Promise<{ id: string; at: number; payload: Value }[]>;
  }

  export interface Alarm {
    readonly id: string;
    readonly payload: Value;
    readonly scheduledAt: number;
    /** Counts from 1: the same alarm is delivered again after a failure. */
    readonly attempt: number;
  }

  export interface Log {
    debug(...parts: unknown[]): void;
    info(...parts: unknown[]): void;
    warn(...parts: unknown[]): void;
    error(...parts: unknown[]): void;
  }

  /** A client's connection: of the public clients, a raw WebSocket, or an HTTP call while it is in work. */
  export interface Conn<ConnState = any, Params = any> {
    readonly id: string;
    readonly params: Params;
    /** Up to 16 KiB; changes anywhere in it are saved with the turn. */
    state: ConnState;
    readonly isHibernatable: boolean;
    send(event: string, ...args: any[]): void;
    disconnect(reason?: string): Promise<void>;
  }

  /** A standard schema, or anything with `parse`. It must answer at once. */
  export type Schema<T = any> =
    | { parse(value: unknown): T }
    | { readonly "~standard": { readonly validate: (value: unknown) => any } };

  export interface EventToken<T = any, Context = any> {
    readonly _event?: T;
    schema?: Schema;
    canSubscribe?(c: Context): Maybe<boolean>;
  }

  export interface ActionSchemas { [action: string]: Schema | ActionSchemas }

  export interface ActionGroup { [name: string]: ((c: any, ...args: any[]) => unknown) | ActionGroup }

  export interface ActorContext<State = any, Vars = any, ConnState = any, Params = any> {
    /** One document, saved at the end of every turn in which it changed. */
    state: State;
    /** Lives as long as the isolate; never saved. */
    vars: Vars;
    readonly actorId: string;
    readonly name: string;
    readonly key: readonly string[];
    /** What the `auth` hook returned for the client whose action, request or socket this is. */
    readonly auth?: any;
    readonly kv: Kv;
    readonly schedule: Schedule;
    readonly cron: Cron;
    readonly alarms: Alarms;
    readonly log: Log;
    /** A number in [0, 1) of the actor's own random stream. */
    random(): number;
    /** Sleep as soon as what is in work has settled. */
    sleep(): void;
    /** The end of this actor, for good, after this turn is saved: nothing new begins, what is in work may still settle,
     * then `onDestroy` runs. Its key makes a new actor from then on. */
    destroy(): void;
    /** The actor does not fall asleep by itself until the promise has settled; gives it back. A sleep that was asked
     *  for waits for it too, within its grace. A rejection is logged. */
    keepAwake<T>(promise: T): T;
    /** A sleep does not end until the promise has settled, or its grace is over. The idle time goes on. */
    waitUntil(promise: unknown): void;
    /** Writes the state now instead of at the end of the turn; with `immediate` it ends when that is on disk. */
    saveState(options?: { immediate?: boolean; maxWait?: number }): Promise<void>;
    /** Every connection, by its id; a live view. */
    readonly conns: ReadonlyMap<string, Conn<ConnState, Params>>;
    /** The connection behind this event; undefined where there is none, as in an alarm. */
    readonly conn: Conn<ConnState, Params>;
    /** The request behind a hook of a request or of a connection. */
    readonly request: Request | undefined;
    /** Sends an event to every connection that has subscribed to it. */
    broadcast(event: string, ...args: any[]): void;
    /** Aborted when the actor stops, before `onSleep` and `onDestroy`. */
    readonly abortSignal: AbortSignal;
    readonly aborted: boolean;
    /** Other actors of this namespace. */
    client(): Client;
    /** In an action that another actor called: which one, as the host says. */
    readonly caller: { readonly actorId: string; readonly name: string } | undefined;
  }

  export type Key = string | string[];

  export interface CallOptions {
    /** Gives the call up: its promise rejects with the signal's reason. What it has begun already goes on. */
    signal?: AbortSignal;
    /** In ms; at most the limit `call_timeout`. */
    timeout?: number;
  }

  /** Calls that are not caught carry on the other actor's UserError; others are `HostError`s. */
  export interface ActorHandleBase {
    action<T = any>(call: { name: string; args?: Value[] } & CallOptions): Promise<T>;
    /** The actor's id; it is made if the handle makes one. */
    resolve(): Promise<string>;
  }

  export type ActorHandle = ActorHandleBase & { [action: string]: (...args: any[]) => Promise<any> };

  export interface NamedActors {
    /** Calls are `actor/not_found` while there is none. */
    get(key?: Key, options?: { signal?: AbortSignal }): ActorHandle;
    /** The first call makes the actor if there is none. */
    getOrCreate(key?: Key, options?: { signal?: AbortSignal; createWithInput?: Value }): ActorHandle;
    getForId(actorId: string, options?: { signal?: AbortSignal }): ActorHandle;
    /** `actor/duplicate_key` if the key has one. */
    create(key?: Key, options?: { signal?: AbortSignal; input?: Value }): Promise<ActorHandle>;
  }

  /** `client.NAME` are the actors of a name. */
  export type Client = {
    get(name: string, key?: Key, options?: { signal?: AbortSignal }): ActorHandle;
    getOrCreate(name: string, key?: Key, options?: { signal?: AbortSignal; createWithInput?: Value }): ActorHandle;
    getForId(name: string, actorId: string, options?: { signal?: AbortSignal }): ActorHandle;
    create(name: string, key?: Key, options?: { signal?: AbortSignal; input?: Value }): Promise<ActorHandle>;
  } & { readonly [name: string]: NamedActors };

  /** A client that wants something, as the `auth` hook gets to know it. */
  export interface AuthRequest {
    readonly kind: "action" | "request" | "socket" | "connect";
    /** What the host has made sure of: who gave the client its token, and what was claimed in it. */
    readonly role: "admin" | "tenant" | "connection" | "anonymous";
    readonly claims: any;
    /** The rest is what the client says. `name` is that of an action. */
    readonly name?: string;
    readonly method?: string;
    readonly path?: string;
    readonly url?: string;
    readonly headers: Headers;
    readonly params: any;
  }

  export interface MessageEventLike {
    readonly type: "message";
    readonly target: ActorSocket;
    readonly data: string | ArrayBuffer;
    /** The index of the message on its connection, from 1; a string from 2**53 on. */
    readonly rivetMessageIndex: number | string;
    /** More than 1 if the message is delivered again. */
    readonly attempt: number;
  }

  export interface CloseEventLike {
    readonly type: "close";
    readonly target: ActorSocket;
    readonly code: number;
    readonly reason: string;
    readonly wasClean: boolean;
  }

  /** A raw WebSocket. A message has settled when every promise that a listener returned has. */
  export interface ActorSocket {
    readonly id: string;
    readonly path: string;
    readonly url: string;
    readonly params: Value;
    /** What the `auth` hook returned for its client; the same after a wake. */
    readonly auth: any;
    readonly hibernatable: boolean;
    readonly protocol: string;
    /** 0 while `onWebSocket` runs for a new connection, then 1; 2 closing; 3 closed. */
    readonly readyState: 0 | 1 | 2 | 3;
    binaryType: "arraybuffer";
    /** Up to 16 KiB, kept with the connection; it comes back after a wake. Assign to save. */
    state: any;
    tags: string[];
    onopen: ((event: { readonly type: "open"; readonly target: ActorSocket }) => unknown) | null;
    onmessage: ((event: MessageEventLike) => unknown) | null;
    onclose: ((event: CloseEventLike) => unknown) | null;
    onerror: ((event: unknown) => unknown) | null;
    /** Leaves after the commit of the turn. */
    send(data: string | Bytes): void;
    close(code?: number, reason?: string): void;
    addEventListener(type: "open", listener: (event: { readonly type: "open" }) => unknown, options?: ListenerOptions): void;
    addEventListener(type: "message", listener: (event: MessageEventLike) => unknown, options?: ListenerOptions): void;
    addEventListener(type: "close", listener: (event: CloseEventLike) => unknown, options?: ListenerOptions): void;
    addEventListener(type: string, listener: (event: any) => unknown, options?: ListenerOptions): void;
    removeEventListener(type: string, listener: (event: any) => unknown): void;
  }

  export interface ListenerOptions {
    once?: boolean;
    signal?: AbortSignal;
  }

  export interface ActorOptions {
    /** How long an idle actor stays awake, in ms. */
    sleepTimeout?: number;
    /** How long a handler may take, in ms. */
    actionTimeout?: number;
    /** Whether sockets stay open while the actor sleeps; true by default. A function counts as true. */
    canHibernateWebSocket?: boolean | ((request: Request) => boolean);
    /** As long as operators let an actor stay awake. */
    noSleep?: boolean;
    /** How long these hooks may take, in ms: 5,000, and 30,000 for `onMigrate`. */
    createVarsTimeout?: number;
    createConnStateTimeout?: number;
    onBeforeConnectTimeout?: number;
    onConnectTimeout?: number;
    onMigrateTimeout?: number;
    /** Taken, and without effect here. */
    [ofRivetKit: string]: unknown;
  }

  type Maybe<T> = T | Promise<T>;

  export interface ActorConfig<State, Vars, Input, Actions, ConnState = any, Params = any> {
    state?: State;
    createState?(c: ActorContext<undefined, undefined>, input: Input): Maybe<State>;
    vars?: Vars;
    createVars?(c: ActorContext<State, undefined>, driver: undefined): Maybe<Vars>;
    connState?: ConnState;
    /** Of each new connection, before it is among `c.conns`. */
    createConnState?(c: ActorContext<State, Vars>, params: Params): Maybe<ConnState>;
    /** Once per actor, with what its creator sent along. It may run again if the first start fails later on. */
    onCreate?(c: ActorContext<State, undefined>, input: Input): Maybe<void>;
    /**
     * At the first start on another version than it ran before, `fromVersion`: the place to bring its state up to date.
     * Before `createVars` and `onWake`. If it throws, the actor goes back to the version it ran before.
     */
    onUpgrade?(c: ActorContext<State, undefined>, fromVersion: number): Maybe<void>;
    /** At every start, before `onWake`. */
    onMigrate?(c: ActorContext<State, Vars, ConnState, Params>, isNew: boolean): Maybe<void>;
    /** At every start, the first one included. */
    onWake?(c: ActorContext<State, Vars, ConnState, Params>): Maybe<void>;
    onSleep?(c: ActorContext<State, Vars, ConnState, Params>): Maybe<void>;
    onDestroy?(c: ActorContext<State, Vars, ConnState, Params>): Maybe<void>;
    /** Beside everything else, once the actor has started. A stop aborts `c.abortSignal`, and waits for it for a while. */
    run?: ((c: ActorContext<State, Vars, ConnState, Params>) => unknown) | {
      run(c: ActorContext<State, Vars, ConnState, Params>): unknown;
      name?: string;
      icon?: string;
    };
    /** At the end of a turn that changed the state. What it changes itself is saved, and does not call it again. */
    onStateChange?(c: ActorContext<State, Vars, ConnState, Params>, newState: State): void;
    /** Throwing refuses the connection. */
    onBeforeConnect?(c: ActorContext<State, Vars>, params: Params): Maybe<void>;
    onConnect?(c: ActorContext<State, Vars, ConnState, Params>, conn: Conn<ConnState, Params>): Maybe<void>;
    onDisconnect?(c: ActorContext<State, Vars, ConnState, Params>, conn: Conn<ConnState, Params>): Maybe<void>;
    /** What it returns is the caller's answer. */
    onBeforeActionResponse?(
      c: ActorContext<State, Vars, ConnState, Params>, name: string, args: any[], output: any,
    ): unknown;
    /** Asked before an action, a request or a handshake of a client; what it returns (up to 4 KiB) is `c.auth` there.
     *  Throwing a `UserError` refuses the client: 403 with its code, or `metadata.status`. */
    auth?(c: ActorContext<State, Vars>, request: AuthRequest): Maybe<any>;
    onRequest?(c: ActorContext<State, Vars, ConnState, Params>, request: Request): Maybe<Response>;
    /** For every new connection, and again after a wake (`restored`), when the socket is open already. */
    onWebSocket?(
      c: ActorContext<State, Vars, ConnState, Params>, websocket: ActorSocket,
      details: { request: Request; restored: boolean },
    ): Maybe<void>;
    onAlarm?(c: ActorContext<State, Vars>, alarm: Alarm): Maybe<void>;
    /** Functions, and groups of them: one in a group is called `group.name`. */
    actions?: Actions & {
      [name: string]: ((c: ActorContext<State, Vars, ConnState, Params>, ...args: any[]) => unknown) | ActionGroup;
    };
    /** What arguments have to be, as a list. */
    actionInputSchemas?: ActionSchemas;
    connParamsSchema?: Schema<Params>;
    events?: { [event: string]: EventToken<any, any> | Schema };
    options?: ActorOptions;
  }

  export interface ActorDefinition<
    State = any, Vars = any, Input = any, Actions = any, ConnState = any, Params = any,
  > {
    readonly config: ActorConfig<State, Vars, Input, Actions, ConnState, Params>;
  }

  export function actor<State = any, Vars = any, Input = any, Actions = {}, ConnState = any, Params = any>(
    config: ActorConfig<State, Vars, Input, Actions, ConnState, Params>,
  ): ActorDefinition<State, Vars, Input, Actions, ConnState, Params>;

  export interface Registry<Use = any> {
    readonly config: { use: Use };
    /** Nothing to do here: the host is the server. */
    start(): Registry<Use>;
    serve(): Registry<Use>;
    handler(): Registry<Use>;
  }

  /** The actors of a module, by name. The default export, or any. */
  export function setup<Use extends Record<string, ActorDefinition>>(config: { use: Use }): Registry<Use>;

  /** The plainer face: `export default` an object (or class) with these hooks; the context comes last. */
  export interface PlainActor<State = any> {
    state?: State;
    onStart?(c: ActorContext<State>): Maybe<void>;
    onUpgrade?(fromVersion: number, c: ActorContext<State>): Maybe<void>;
    onSleep?(c: ActorContext<State>): Maybe<void>;
    onDestroy?(c: ActorContext<State>): Maybe<void>;
    onConnect?(conn: ActorSocket, c: ActorContext<State>): unknown;
    onMessage?(conn: ActorSocket, data: string | ArrayBuffer, c: ActorContext<State>, event: MessageEventLike): unknown;
    onClose?(conn: ActorSocket, code: number, reason: string, c: ActorContext<State>): unknown;
    onAlarm?(alarm: Alarm, c: ActorContext<State>): Maybe<void>;
    auth?(request: AuthRequest, c: ActorContext<State>): Maybe<any>;
    onRequest?(request: Request, c: ActorContext<State>): Maybe<Response>;
    actions?: { [name: string]: (c: ActorContext<State>, ...args: any[]) => unknown };
    options?: ActorOptions;
  }

  /** Reaches the caller with its code, message and metadata; every other error is masked and logged. */
  export class UserError extends RivetError {
    constructor(message: string, options?: { code?: string; metadata?: Value; cause?: unknown });
  }

  /** What a host call that is refused throws. */
  export interface HostError extends Error {
    readonly group: string;
    readonly code: string;
    readonly metadata?: Value;
  }

  /** An error with a group and a code of its own; clients see of it what they see of any other. */
  export class RivetError extends Error {
    constructor(group: string, code: string, message: string, options?: { metadata?: Value; cause?: unknown });
    readonly group: string;
    readonly code: string;
    readonly metadata?: Value;
  }
  export { RivetError as ActorError };

  /** A declaration in `events`. */
  export function event<T = any, Context = any>(options?: {
    schema?: Schema;
    canSubscribe?(c: Context): Maybe<boolean>;
  }): EventToken<T, Context>;
  /** A declaration of RivetKit's; an actor with `queues` is refused, for there are none yet. */
  export function queue<T = any, Result = never>(options?: object): { readonly _queue?: [T, Result] };
}

declare module "rivetkit" {
  export * from "isolate";
}
