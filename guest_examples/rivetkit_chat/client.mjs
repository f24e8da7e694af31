// Two people talk: `node client.mjs [ENDPOINT]`. The client is RivetKit's own, from npm.
import { createClient } from "rivetkit/client";

const endpoint = process.argv[2] ?? "http://127.0.0.1:6420";
const client = createClient({ endpoint });
const room = client.chatRoom.getOrCreate(["lobby"]);

const heard = (connection, event) => new Promise((resolve) => connection.once(event, resolve));

const ada = room.connect({ username: "ada" });
await ada.ready;
ada.on("newMessage", ({ number, sender, text }) => console.log(`${number} ${sender}: ${text}`));

const company = heard(ada, "people");
await ada.setTyping(true); // answered behind the subscription, which was asked for before
const bob = room.connect({ username: "bob" });
console.log(`here: ${(await company).join(", ")}`);
console.log(`typing: ${await bob.whoIsTyping()}`);

await ada.sendMessage("hello bob");
await bob.sendMessage("hello ada");

const error = await bob.sendMessage("  ").catch((refused) => refused);
console.log(`refused: ${error.group}/${error.code}, ${error.message}`);

const left = heard(ada, "people");
await ada.whoIsTyping();
await bob.dispose();
console.log(`here: ${(await left).join(", ")}`);

// Over HTTP: a connection for this call alone, with params of its own.
const reader = client.chatRoom.getOrCreate(["lobby"], { params: { username: "reader" } });
console.log(`${(await reader.history()).length} messages`);
await client.dispose();
