"""A FastAPI application with a host inside: its users are the host's tenants.

    pip install fastapi
    uvicorn docs.examples.fastapi_app:app

Every user who signs up gets a namespace, with an actor of the application's making deployed in it. The application
calls that actor itself (`/notes`), and the user's browser talks to it directly, below `/live`, with the session cookie
that the application gave out: the resolver says whose it is. No user reaches what is another's, and the cookie is never
shown to an actor.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from pydantic import BaseModel
from starlette.requests import HTTPConnection

from host import Host, Identity, caller

NOTEBOOK = b"""
import { actor, UserError } from "isolate";

export default actor({
  state: { notes: [] },
  auth(c, request) {
    // the application itself comes as an admin, its users with the claims that the resolver made
    if (request.role === "admin") return { user: "the application" };
    if (!request.claims) throw new UserError("sign in first", { code: "signed_out" });
    return { user: request.claims.user };
  },
  actions: {
    add(c, text) {
      c.state.notes.push({ text, by: c.auth.user });
      return c.state.notes.length;
    },
    list: (c) => c.state.notes,
  },
  onWebSocket(c, socket) {
    socket.addEventListener("message", (event) => {
      c.state.notes.push({ text: event.data, by: socket.auth.user });
      socket.send(`${c.state.notes.length} notes`);
    });
  },
});
"""
COOKIE = "session"


class Credentials(BaseModel):
    name: str
    password: str


class Note(BaseModel):
    text: str


@dataclass
class User:
    name: str
    tenant: str
    salt: bytes
    password: bytes


@dataclass
class Users:
    """In memory, for an example; an application keeps them in its database."""

    by_name: dict[str, User] = field(default_factory=dict)
    sessions: dict[str, User] = field(default_factory=dict)

    def add(self, given: Credentials) -> User:
        salt = os.urandom(16)
        user = User(given.name, f"user-{len(self.by_name) + 1}", salt, _hash(given.password, salt))
        self.by_name[given.name] = user
        return user

    def check(self, given: Credentials) -> User | None:
        user = self.by_name.get(given.name)
        if user is None or not hmac.compare_digest(user.password, _hash(given.password, user.salt)):
            return None
        return user

    def session_of(self, connection: HTTPConnection) -> User | None:
        return self.sessions.get(connection.cookies.get(COOKIE, ""))


def signed_in(request: Request) -> User:
    user: User | None = request.app.state.users.session_of(request)
    if user is None:
        raise HTTPException(401, "sign in first")
    return user


SignedIn = Annotated[User, Depends(signed_in)]


def create_app(data_dir: Path | str) -> FastAPI:
    users = Users()

    async def who(scope: Mapping[str, Any]) -> Identity | None:
        """The resolver: who is asking, as the application knows its users."""
        user = users.session_of(HTTPConnection(dict(scope)))
        return None if user is None else caller(user.tenant, claims={"user": user.name})

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with Host(data_dir) as host:
            app.state.host, app.state.users = host, users
            app.mount("/live", host.asgi(resolver=who))
            yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/users", status_code=201)
    async def sign_up(given: Credentials) -> dict[str, str]:
        if given.name in users.by_name:
            raise HTTPException(409, "there is a user of this name")
        user = users.add(given)
        async with app.state.host.client(namespace=user.tenant) as client:
            await client.deploy("notebook", NOTEBOOK, "text/javascript")
        return {"name": user.name, "tenant": user.tenant}

    @app.post("/session", status_code=204)
    async def sign_in(given: Credentials, response: Response) -> None:
        user = users.check(given)
        if user is None:
            raise HTTPException(401, "name or password is wrong")
        session = secrets.token_urlsafe(32)
        users.sessions[session] = user
        response.set_cookie(COOKIE, session, httponly=True, samesite="lax")

    @app.delete("/session", status_code=204)
    async def sign_out(request: Request, response: Response) -> None:
        users.sessions.pop(request.cookies.get(COOKIE, ""), None)
        response.delete_cookie(COOKIE)

    @app.post("/notes", status_code=201)
    async def add_note(note: Note, user: SignedIn) -> dict[str, int]:
        async with app.state.host.client(namespace=user.tenant) as client:
            return {"notes": await client.get_or_create("notebook", "main").action("add", note.text)}

    @app.get("/notes")
    async def list_notes(user: SignedIn) -> list[dict[str, str]]:
        async with app.state.host.client(namespace=user.tenant) as client:
            notes: list[dict[str, str]] = await client.get_or_create("notebook", "main").action("list")
            return notes

    return app


def _hash(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1)


def __getattr__(name: str) -> FastAPI:
    """`app`, made when a server asks for it."""
    if name == "app":
        return create_app(os.environ.get("DORMICE_DATA_DIR", "dormice-data"))
    raise AttributeError(name)
