// A WebSocket to an actor that comes back by itself: after a broken connection or a restart of the host every message is
// still handled once and in order, and `onframe` gets every frame once and in order. How it works: sessions.md.
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

const newSecret = () =>
  [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

export class SessionSocket {
  onframe = (data) => {};
  onend = (code, reason) => {}; // 4004 and 4010: the host has lost the session; others: somebody closed it
  #url; #socket; #ready = false; #known = false; #ended = false; #delay = 50;
  #secret = newSecret();
  #kept = []; #first = 1; // messages that may not be on disk yet, and the index of the first of them
  #seen = 0; // frames received

  constructor(host, actorId, path = "") { // host: "http://127.0.0.1:6420"
    this.#url = { state: `${host}/gateway/${actorId}/session`, socket: `${host}/gateway/${actorId}/websocket/${path}` };
    this.#connect();
  }
  send(data) { // text or an ArrayBuffer
    this.#kept.push(data);
    if (!this.#ready) return; // it is sent once the connection is there
    this.#socket.send(data);
    const socket = this.#socket;
    if (this.#kept.length % 256 === 0) this.#learn(() => this.#ready && this.#socket === socket).catch(() => {});
  }
  close() { // ends the session: the actor is told
    this.#ended = true;
    this.#socket?.close(1000);
  }
  async #connect() {
    try {
      if (this.#known) await this.#learn(() => true);
    } catch {
      await pause(this.#backOff());
      return this.#connect();
    }
    if (this.#ended) return;
    const query = new URLSearchParams({ "dm-session": this.#secret, "dm-last-seen": this.#seen, "dm-next": this.#first });
    if (this.#known) query.set("dm-resume", 1); // never a new session in the place of one that has ended meanwhile
    const socket = (this.#socket = new WebSocket(`${this.#url.socket.replace(/^http/, "ws")}?${query}`));
    socket.binaryType = "arraybuffer";
    socket.onmessage = (event) => { this.#seen += 1; this.onframe(event.data); };
    socket.onclose = async (event) => {
      this.#ready = false;
      this.#socket = null;
      const unsaid = !this.#known && this.#seen === 0; // then another session is as good as the one that is not there
      if (event.code === 4004 && unsaid && !this.#ended) this.#secret = newSecret();
      else if (this.#ended || ![1006, 1012, 1013].includes(event.code)) return this.#end(event.code, event.reason);
      await pause(this.#backOff());
      this.#connect();
    };
    socket.onopen = async () => {
      while (!this.#known) { // send nothing before the session itself is on disk
        await this.#learn(() => true).then(() => { this.#known = true; }, () => pause(50));
        if (this.#socket !== socket) return;
      }
      this.#ready = true;
      this.#delay = 50;
      for (const data of this.#kept) socket.send(data); // the host drops what it has already
    };
  }
  async #learn(stillValid) { // lets go of what is on disk
    const answer = await fetch(this.#url.state, { headers: { "x-dormice-session": this.#secret } });
    if (answer.status === 404 && this.#known) return this.#end(4004, "session.not_found");
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const { received } = await answer.json();
    if (stillValid() && received >= this.#first) this.#first += this.#kept.splice(0, received - this.#first + 1).length;
  }
  #backOff() { return Math.random() * (this.#delay = Math.min(2 * this.#delay, 2000)); }
  #end(code, reason) { this.#ended = true; this.onend(code, reason); }
}
