// Tells what happened in its life.
import { actor } from "rivetkit";

export default actor({
  state: { life: [] as string[], runs: 0, opens: 0, closed: [] as number[] },
  onCreate: (c) => {
    c.state.life.push("create");
  },
  onWake: (c) => {
    c.state.life.push("wake");
  },
  onSleep: (c) => {
    c.state.life.push("sleep");
  },
  onWebSocket(c, socket) {
    c.state.runs += 1;
    socket.addEventListener("open", () => (c.state.opens += 1));
    socket.addEventListener("close", (event) => c.state.closed.push(event.code));
  },
  actions: {
    life: (c): string[] => c.state.life,
    opened: (c) => ({ runs: c.state.runs, opens: c.state.opens }),
    closed: (c): number[] => c.state.closed,
  },
});
