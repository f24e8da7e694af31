// Event, EventTarget and AbortController, as far as an actor needs them. `fire` is how the bridge delivers an event:
// it runs every listener even if one throws, and gives back what they returned, so that promises can be awaited.
class Event {
  #type;
  #target = null;
  #cancelable;
  #prevented = false;
  #stopped = false;
  constructor(type, init) {
    this.#type = `${type}`;
    this.#cancelable = !!(init && init.cancelable);
  }
  get type() { return this.#type; }
  get target() { return this.#target; }
  get currentTarget() { return this.#target; }
  get cancelable() { return this.#cancelable; }
  get defaultPrevented() { return this.#prevented; }
  get bubbles() { return false; }
  get timeStamp() { return now(); }
  preventDefault() { if (this.#cancelable) this.#prevented = true; }
  stopPropagation() {}
  stopImmediatePropagation() { this.#stopped = true; }
  static aim(event, target) { event.#target = target; event.#stopped = false; }
  static stopped(event) { return event.#stopped; }
}
const { aim, stopped } = Event;
delete Event.aim;
delete Event.stopped;

class MessageEvent extends Event {
  data = null;
  constructor(type, init) {
    super(type, init);
    const given = init || {};
    if (given.data !== undefined) this.data = given.data;
    if (given.rivetMessageIndex !== undefined) this.rivetMessageIndex = given.rivetMessageIndex;
    if (given.attempt !== undefined) this.attempt = given.attempt;
  }
}

class CloseEvent extends Event {
  code = 0;
  reason = '';
  wasClean = false;
  constructor(type, init) {
    super(type, init);
    const given = init || {};
    if (given.code !== undefined) this.code = given.code;
    if (given.reason !== undefined) this.reason = given.reason;
    this.wasClean = !!given.wasClean;
  }
}

class CustomEvent extends Event {
  detail = null;
  constructor(type, init) {
    super(type, init);
    if (init && init.detail !== undefined) this.detail = init.detail;
  }
}

// Each listener runs; `failed` is called with what one throws; the results come back in order.
let fire;

class EventTarget {
  #listeners = new PMap();
  addEventListener(type, listener, options) {
    if (listener === null || listener === undefined) return;
    if (!isObject(listener)) throw new PTypeError('a listener must be a function or an object with handleEvent');
    const given = isObject(options) ? options : {}, name = `${type}`;
    const list = mapGet(this.#listeners, name) || [];
    for (let i = 0; i < list.length; i++) if (list[i].listener === listener) return;
    if (given.signal) {
      if (given.signal.aborted) return;
      given.signal.addEventListener('abort', () => this.removeEventListener(name, listener));
    }
    const longer = [];
    for (let i = 0; i < list.length; i++) append(longer, list[i]);
    append(longer, { listener, once: !!given.once });
    mapSet(this.#listeners, name, longer);
  }
  removeEventListener(type, listener) {
    const name = `${type}`, list = mapGet(this.#listeners, name);
    if (!list) return;
    const shorter = [];
    for (let i = 0; i < list.length; i++) if (list[i].listener !== listener) append(shorter, list[i]);
    mapSet(this.#listeners, name, shorter);
  }
  dispatchEvent(event) {
    fire(this, event, null, (thrown) => logThrown(`a listener of "${event.type}" threw`, thrown));
    return !event.defaultPrevented;
  }
  static {
    fire = (target, event, handler, failed) => {
      const list = mapGet(target.#listeners, event.type), results = [];
      aim(event, target);
      if (typeof handler === 'function') {
        try {
          append(results, apply(handler, target, [event]));
        } catch (thrown) {
          failed(thrown);
        }
      }
      if (!list) return results;
      for (let i = 0; i < list.length && !stopped(event); i++) {
        const { listener, once } = list[i];
        if (once) target.removeEventListener(event.type, listener);
        try {
          if (typeof listener === 'function') append(results, apply(listener, target, [event]));
          else append(results, listener.handleEvent(event));
        } catch (thrown) {
          failed(thrown);
        }
      }
      return results;
    };
  }
}

let abortSignal, newSignal = false;

class AbortSignal extends EventTarget {
  #aborted = false;
  #reason = undefined;
  onabort = null;
  constructor() {
    if (!newSignal) throw new PTypeError('an AbortSignal comes from an AbortController');
    super();
  }
  get aborted() { return this.#aborted; }
  get reason() { return this.#reason; }
  throwIfAborted() { if (this.#aborted) throw this.#reason; }
  static abort(reason) {
    const controller = new AbortController();
    controller.abort(reason);
    return controller.signal;
  }
  static timeout(ms) {
    const controller = new AbortController();
    setTimer(() => controller.abort(new PDOMException('the operation timed out', 'TimeoutError')), ms, false, []);
    return controller.signal;
  }
  static any(signals) {
    const controller = new AbortController();
    for (const signal of signals) {
      if (signal.aborted) {
        controller.abort(signal.reason);
        break;
      }
      signal.addEventListener('abort', () => controller.abort(signal.reason), { once: true });
    }
    return controller.signal;
  }
  static {
    abortSignal = (signal, reason) => {
      if (signal.#aborted) return;
      signal.#aborted = true;
      signal.#reason = reason === undefined ? new PDOMException('the operation was aborted', 'AbortError') : reason;
      fire(signal, new Event('abort'), signal.onabort, (thrown) => logThrown('a listener of "abort" threw', thrown));
    };
  }
}

class AbortController {
  #signal;
  constructor() {
    newSignal = true;
    try {
      this.#signal = new AbortSignal();
    } finally {
      newSignal = false;
    }
  }
  get signal() { return this.#signal; }
  abort(reason) { abortSignal(this.#signal, reason); }
}

expose('Event', Event);
expose('MessageEvent', MessageEvent);
expose('CloseEvent', CloseEvent);
expose('CustomEvent', CustomEvent);
expose('EventTarget', EventTarget);
expose('AbortSignal', AbortSignal);
expose('AbortController', AbortController);
