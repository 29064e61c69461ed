"""Every route with its methods and who may ask it; one that is not here is not answered."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

Access = Literal["anyone", "score", "operate"]
"""`anyone` asks without a key; the others need one of that role, as soon as the home has keys."""


@dataclass(frozen=True)
class Route:
    """One address. `{NAME}` in it stands for a part that is handed on by that name."""

    path: str
    method: Literal["GET", "POST"]
    handler: str
    access: Access

    @cached_property
    def pattern(self) -> "re.Pattern[str]":
        return re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(self.path)))


_MODELS = ("/v2/models/{use_case}", "/v2/models/{use_case}/versions/{version}")

ROUTES: tuple[Route, ...] = (
    Route("/score", "POST", "score", "score"),
    Route("/invocations", "POST", "score", "score"),
    Route("/{use_case}/score", "POST", "score", "score"),
    Route("/{use_case}/invocations", "POST", "score", "score"),
    *(Route(f"{path}/infer", "POST", "infer", "score") for path in _MODELS),
    *(Route(f"{path}/ready", "GET", "model_ready", "anyone") for path in _MODELS),
    *(Route(path, "GET", "model", "score") for path in _MODELS),
    Route("/v2", "GET", "server", "anyone"),
    Route("/v2/health/live", "GET", "live", "anyone"),
    Route("/v2/health/ready", "GET", "ready", "anyone"),
    Route("/health/live", "GET", "live", "anyone"),
    Route("/health/ready", "GET", "ready", "anyone"),
    Route("/ping", "GET", "ping", "anyone"),
    Route("/version", "GET", "version", "anyone"),
    Route("/openapi.json", "GET", "openapi", "score"),
    Route("/metrics", "GET", "metrics", "operate"),
)

_PLAIN: dict[tuple[str, str], Route] = {(route.method, route.path): route for route in ROUTES if "{" not in route.path}
_PARTED = [route for route in ROUTES if "{" in route.path]


def find(method: str, path: str) -> tuple[Route, Mapping[str, str]] | set[str]:
    """The route of a request and the parts of its path, else the methods that its path has."""
    asked = "GET" if method == "HEAD" else method
    if route := _PLAIN.get((asked, path)):
        return route, {}
    methods: set[str] = {of for of, known in _PLAIN if known == path}
    for route in _PARTED:
        if match := route.pattern.fullmatch(path):
            if route.method == asked:
                return route, match.groupdict()
            methods.add(route.method)
    return methods
