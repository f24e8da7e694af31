// A chat room as one writes it for RivetKit: nothing in this file knows which host runs it.
import { actor, event, setup, UserError } from "rivetkit";

export interface Message {
  number: number;
  sender: string;
  text: string;
}

interface Params {
  username?: string;
}

const HISTORY = 100;

export const chatRoom = actor({
  // Durable: saved with each action.
  state: { messages: [] as Message[], sent: 0 },

  events: {
    newMessage: event<Message>(),
    people: event<string[]>(),
  },

  onBeforeConnect(_c, params: Params) {
    if (!params?.username) throw new UserError("say who you are", { code: "no_username" });
  },

  // One for each connection; it is kept while the room sleeps.
  createConnState: (_c, params: Params) => ({ username: params.username as string, typing: false }),

  onConnect(c) {
    c.broadcast("people", names(c.conns));
  },
  onDisconnect(c) {
    c.broadcast("people", names(c.conns));
  },

  actions: {
    sendMessage(c, text: string): Message {
      if (!text.trim()) throw new UserError("nothing to say", { code: "empty", metadata: { text } });
      c.state.sent += 1;
      const message = { number: c.state.sent, sender: c.conn.state.username, text };
      c.state.messages.push(message);
      if (c.state.messages.length > HISTORY) c.state.messages.shift();
      c.conn.state.typing = false;
      c.broadcast("newMessage", message);
      return message;
    },
    setTyping(c, typing: boolean): void {
      c.conn.state.typing = typing;
    },
    whoIsTyping: (c): string[] =>
      [...c.conns.values()].filter((conn) => conn.state.typing).map((conn) => conn.state.username),
    history: (c): Message[] => c.state.messages,
  },
});

function names(conns: Map<string, { state: { username: string } }>): string[] {
  return [...conns.values()].map((conn) => conn.state.username).sort();
}

export const registry = setup({ use: { chatRoom } });

registry.start();
