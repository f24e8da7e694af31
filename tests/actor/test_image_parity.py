"""An actor that starts from an image of its module and one that loads the module are the same to everybody.

Every life below is lived twice, on two nodes with the same clock, ids and secrets: once from the engine's image and a
load, once from the module's image. Whatever shows outside (answers, errors, frames, commits, what is logged, and the
order of it all) must be the same.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from host.isolate.code import Code
from host.isolate.engine import Engine
from host.isolate.guest_thread import run_on_guest_thread
from host.isolate.module_image import ModuleImage, build_module_image
from host.model.limits import Limits
from host.modules.api import DeploymentImage, RunnableCode
from host.modules.cache import ArtifactCache
from host.modules.codes import CodeStore
from host.modules.compile import Compiler
from host.modules.engine_image import EngineImage
from host.telemetry.metrics import MetricsRegistry
from isolate_sdk import engine_wasm, prelude
from tests.actor.harness import CodeShelf, Failed, Harness, open_harness

pytestmark = pytest.mark.anyio

Life = Callable[[Harness], Awaitable[list[Any]]]

HEAD = 'import { actor, UserError } from "rivetkit";\n'


class ImageShelf(CodeShelf):
    """Modules with their images."""

    def __init__(self, engine: Engine, js: Code, engine_image: bytes) -> None:
        super().__init__(engine, js)
        self._engine_image = engine_image
        self.started = 0

    @classmethod
    async def build(cls, data_dir: Path) -> ImageShelf:
        engine, metrics = Engine(), MetricsRegistry()
        cache = ArtifactCache(data_dir / "cache", (data_dir / "key").read_bytes(), engine.profile_key, metrics)
        compiler = Compiler(engine)
        codes = CodeStore(engine, compiler, cache, metrics)
        image = EngineImage(engine, compiler, codes, cache, engine_wasm=engine_wasm(), prelude=prelude().encode())
        return cls(engine, await image.js_code(), await image.wasm())

    def put(self, module: str | bytes) -> str:
        digest = super().put(module)
        made = self._made[digest]
        if made.source is not None and made.image is None:
            built = run_on_guest_thread(lambda: self._image(made, digest))
            code = self._engine.compile(built.wasm)
            code.check_abi("js")
            self._made[digest] = msgspec.structs.replace(made, image=DeploymentImage(code, built.load_ms))
        return digest

    async def code_for(self, tenant: str, digest: str) -> RunnableCode:
        code = await super().code_for(tenant, digest)
        self.started += code.image is not None
        return code

    def _image(self, made: RunnableCode, digest: str) -> ModuleImage:
        assert made.source is not None
        # Time enough on a busy machine: what an image says of its time is compared with each definition's own deadline.
        limits = Limits(turn_deadline=10_000)
        return build_module_image(self._js, self._engine_image, made.source, bytes.fromhex(digest), limits)


@pytest.fixture(scope="module")
async def images(compiled_data_dir: Path) -> AsyncGenerator[ImageShelf]:
    made = await ImageShelf.build(compiled_data_dir)
    yield made
    made.close()


async def lived(shelf: CodeShelf, life: Life) -> list[Any]:
    """Everything that showed."""
    with capture_logs() as lines:
        async with open_harness(shelf) as h:
            answers = await life(h)
            await h.rest()
            seen = [answers, [repr(line) for line in h.history], h.metrics.counter("guest_faults")]
    return [*seen, lines]


async def alike(shelf: CodeShelf, images: ImageShelf, life: Life) -> list[Any]:
    """The answers, after both ways of life have been compared."""
    plain, imaged = await lived(shelf, life), await lived(images, life)
    for one, other in zip(plain, imaged, strict=True):
        assert one == other
    assert images.started > 0
    answers: list[Any] = plain[0]
    return answers


async def asked(h: Harness, actor: str, *calls: tuple[Any, ...]) -> list[Any]:
    """Answers and errors of actions, one after the other."""
    answers: list[Any] = []
    for action, *args in calls:
        try:
            answers.append(await h.call(actor, action, *args))
        except Failed as failed:
            answers.append(failed.info)
    return answers


TOP_LEVEL = (
    HEAD
    + """
const tried = (run) => { try { return String(run()); } catch (e) { return `${e.group}/${e.code} ${e.name}`; } };
const born = [Date.now(), new Date().toISOString(), performance.now(), Math.random(), Math.random()];
const refused = [
  tried(() => setTimeout(() => {}, 1)), tried(() => setInterval(() => {}, 1)),
  tried(() => crypto.randomUUID()), tried(() => crypto.getRandomValues(new Uint8Array(4))),
];
console.log("from the top level", born[3]);
Promise.reject(new Error("nobody handles this"));
const awaited = await Promise.all([1, Promise.resolve(2), (async () => 3)()]);
const order = [];
queueMicrotask?.(() => order.push("micro"));
Promise.resolve().then(() => order.push("job"));
order.push("sync");
let late;
const waiting = new Promise((resolve) => { late = resolve; });
const held = new Map([["a", { n: 1 }]]);
const tag = Symbol.for("tag");
function* counter() { let n = 0; for (;;) yield n++; }
const numbers = counter();
numbers.next();
const pattern = /a/g;
pattern.test("aa");
class Box { #v = 41; get v() { return ++this.#v; } static made = new Box(); }
const bytes = new Uint8Array([1, 2, 3]);
const text = new TextEncoder().encode("héllo");
globalThis.shared = { hits: 0 };
export default actor({
  state: { born, n: 0 },
  createVars: () => ({ at: Date.now(), random: Math.random() }),
  actions: {
    born: (c) => [born, refused, awaited, order, c.vars, c.random(), crypto.randomUUID(), Math.random(), Date.now()],
    keep: () => [held.get("a").n++, numbers.next().value, pattern.lastIndex, pattern.test("aa"), Box.made.v,
      bytes[0]++, text.length, globalThis.shared.hits++, Symbol.keyFor(tag)],
    settle: () => { late("done"); return waiting; },
    throws: () => {
      const inner = () => { throw new TypeError("deep"); };
      inner();
    },
    user: () => { throw new UserError("no", { code: "nope", metadata: { a: 1n } }); },
    stack: () => new Error("here").stack,
    source: () => tried.toString(),
    deep: () => { const f = () => f() + 1; return f(); },
    unknownGlobal: () => notThere,
    spin: () => { for (;;); },
    grow: () => { const a = []; for (;;) a.push(new Uint8Array(1 << 20)); },
    log: (c) => { c.log.info("line", born[3]); console.warn({ a: [1] }); },
  },
});
"""
)


async def test_what_a_top_level_saw_and_left_behind(shelf: CodeShelf, images: ImageShelf) -> None:
    async def life(h: Harness) -> list[Any]:
        await h.define(TOP_LEVEL)
        first, second = await h.actor(key="1"), await h.actor(key="2")
        answers: list[Any] = []
        for actor in (first, second, first):
            answers.append(
                await asked(
                    h, actor, ("born",), ("keep",), ("keep",), ("settle",), ("throws",), ("user",), ("stack",),
                    ("source",), ("deep",), ("unknownGlobal",), ("log",), ("missing",),
                )
            )  # fmt: skip
        await h.asleep(first)
        answers.append(await asked(h, first, ("born",), ("keep",)))
        return answers

    first, second, third, woken = await alike(shelf, images, life)
    born, refused, awaited, order, *_ = first[0]
    assert born[:3] == [0, "1970-01-01T00:00:00.000Z", 0]
    assert refused == ["module/module/not_in_turn Error"] * 4
    assert (awaited, sorted(order)[-1], order[0]) == ([1, 2, 3], "sync", "sync")
    # the module's own randomness is everybody's, an actor's is its own, and no start repeats another's
    assert second[0][0] == third[0][0] == woken[0][0] == born
    assert len({repr(row[0][5:8]) for row in (first, second, third, woken)}) == 4
    # nothing that one actor changed is in another, or in the same one after it slept
    assert first[1] == second[1] == woken[1] != first[2]
    assert third[1] != first[1]


async def test_faults_and_what_comes_after_them(shelf: CodeShelf, images: ImageShelf) -> None:
    async def life(h: Harness) -> list[Any]:
        await h.define(TOP_LEVEL, limits={"turn_deadline": 100, "memory": 16 * 1024 * 1024})
        actor = await h.actor()
        return await asked(h, actor, ("keep",), ("spin",), ("keep",), ("grow",), ("keep",), ("born",))

    answers = await alike(shelf, images, life)
    assert answers[0] == answers[2] == answers[4]


async def test_sockets_alarms_requests_sleep_and_wake(shelf: CodeShelf, images: ImageShelf) -> None:
    async def life(h: Harness) -> list[Any]:
        actor = await h.probe(input={"n": 1})
        socket = await h.open(actor)
        for text in ("echo 1", "state", "index", "user:x", "crash<2", "echo 2"):
            socket.send(text)
        await h.rest()
        answers = await asked(
            h, actor, ("inc", 2), ("alarm", "a", 1_000, {"do": "again"}), ("act", "user:x"), ("kv", "x")
        )
        await h.advance(1)
        answers.append((await h.request(actor, "/here")).body)
        answers += await asked(h, actor, ("act", "crash"), ("get",))
        await h.asleep(actor)
        socket.send("echo 3")
        socket.send("count")
        await h.rest()
        answers += await asked(h, actor, ("get",), ("alarms",))
        return [*answers, h.frames(), await h.document(actor)]

    answers = await alike(shelf, images, life)
    assert any("echo 3" in repr(answer) for answer in answers)


POLLUTED = (
    HEAD
    + """
Object.prototype.type = "stop"; Object.prototype.error = { code: "evil" };
Array.prototype.push = Array.prototype.map = () => { throw 1; };
JSON.parse = JSON.stringify = () => { throw new Error("replaced"); };
Map.prototype.get = () => undefined; Function.prototype.call = null;
String.prototype.slice = () => "evil";
const Real = Promise;
globalThis.Promise = function () { throw new Error("no promises"); };
Real.prototype.then = ((then) => function (...args) { return Reflect.apply(then, this, args); })(Real.prototype.then);
Date.now = () => 42; Math.random = () => 0.5;
Error.prepareStackTrace = () => "stack";
export default actor({
  state: { n: 0 },
  actions: {
    n: (c) => ++c.state.n,
    now: () => [Date.now(), Math.random()],
    late: async () => { await null; return "late"; },
    fail: () => { throw new Error("x"); },
    kv: async (c) => { await c.kv.put("a", "b"); return c.kv.get("a"); },
  },
});
"""
)


async def test_a_top_level_that_changes_the_language_changes_it_for_its_own_actors_only(
    shelf: CodeShelf, images: ImageShelf
) -> None:
    async def life(h: Harness) -> list[Any]:
        await h.define(POLLUTED, "evil")
        await h.define(TOP_LEVEL, "good")
        evil, good = await h.actor("evil"), await h.actor("good")
        answers = await asked(h, evil, ("n",), ("now",), ("late",), ("fail",), ("kv",), ("n",))
        answers.append((await asked(h, good, ("born",)))[0][0][0])
        await h.asleep(evil)
        return [*answers, *await asked(h, evil, ("n",), ("now",))]

    answers = await alike(shelf, images, life)
    assert answers[1] == [42, 0.5]
    assert answers[6] == 0


PLAIN = """
const seen = [];
export default class {
  onStart(c) { seen.push("start"); }
  onConnect(conn, c) { conn.send(`hello ${seen.length}`); }
  onMessage(conn, data, c) { seen.push(data); conn.send(seen.join()); }
  onClose(conn, code, reason, c) { c.log.info(`closed ${code}`); }
  actions = { seen: () => seen };
}
"""


async def test_the_plainer_face(shelf: CodeShelf, images: ImageShelf) -> None:
    async def life(h: Harness) -> list[Any]:
        actor = await h.new(PLAIN)
        socket = await h.open(actor)
        socket.send("a")
        socket.send("b")
        await socket.received(3)
        socket.close(4001)
        await h.rest()
        return [*await asked(h, actor, ("seen",)), h.frames()]

    assert (await alike(shelf, images, life))[0] == ["start", "a", "b"]


@pytest.mark.parametrize(
    ("work", "limits", "code"),
    [
        ("const kept = new Uint8Array(10 << 20).fill(1);", {"memory": 8 << 20}, "memory"),
        ("for (let i = 0; i < 3e7; i++);", {"turn_deadline": 50}, "deadline"),
    ],
)
async def test_a_definition_with_too_little_for_the_top_level_fails_to_start_either_way(
    shelf: CodeShelf, images: ImageShelf, work: str, limits: dict[str, int], code: str
) -> None:
    async def life(h: Harness) -> list[Any]:
        await h.define(HEAD + work + "export default actor({ actions: { hi: () => 1 } });", limits=limits)
        actor = await h.actor()
        error = await h.error(actor, "hi")
        record = await h.record(actor)
        return [error.name, record.lifecycle, record.last_error]

    answers = await alike(shelf, images, life)
    assert answers[0] == "actor/start_failed"
    assert code in repr(answers[2])
