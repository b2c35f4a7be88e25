"""Which proxy a request goes through: the one that ``HTTPS_PROXY`` and its kin name, and never for this machine.

Read once, when the client is made. Only proxies are taken from the environment: no ``.netrc``, whose passwords
would be sent along.
"""

from __future__ import annotations

from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from elspeth_dagster.errors import LaunchError
from elspeth_dagster.llm.settings import ModelSettings


def environment_proxy(settings: ModelSettings) -> str | None:
    """Return the proxy's URL, or None to go straight.

    Raises:
        LaunchError: the environment names a proxy of a kind that is not supported.
    """
    if settings.is_loopback or proxy_bypass(settings.host):
        return None
    scheme = urlsplit(settings.address).scheme
    proxies = getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    if not proxy:
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if urlsplit(proxy).scheme not in {"http", "https"}:
        raise LaunchError(
            f"The proxy that the environment names for {scheme} is no HTTP proxy.",
            where=f"model {settings.model!r} at {settings.host}",
            hint=f"name an http:// proxy in {scheme.upper()}_PROXY, or list {settings.host} in NO_PROXY",
        )
    return proxy
