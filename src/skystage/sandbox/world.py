"""What the services of one box share, and the table that finds them by host name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from skystage.sandbox.accounts import Accounts
from skystage.sandbox.catalogue import Catalogue
from skystage.sandbox.messages import Reply, Request, Service


@dataclass(slots=True)
class World:
    """The catalogue and the accounts."""

    catalogue: Catalogue
    accounts: Accounts = field(default_factory=Accounts)


def services(world: World) -> Mapping[str, Service]:
    """Every host that the box has, and what answers for it.

    A new service is one module with a function ``hosts(world)``, and its name here.
    """
    from skystage.sandbox import asf, cdse, cmr, dem, earthdata, mast, planetary, s3

    table: dict[str, Service] = {}
    for module in (cmr, earthdata, asf, s3, cdse, dem, planetary, mast):
        for host, service in module.hosts(world).items():
            table[host] = _either(table[host], service) if host in table else service
    return table


def _either(first: Service, second: Service) -> Service:
    """Two services of one host: what the first does not have, the second is asked for."""

    def answer(request: Request) -> Reply:
        reply = first(request)
        return second(request) if reply.status == 404 else reply

    return answer
