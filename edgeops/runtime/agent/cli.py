"""``edgeops-agent``: the agent's own command line, which needs no more than a device has.

``edgeops agent VERB`` calls the same functions. Importing this imports neither numpy nor tuf.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops import __version__
from edgeops.errors import EdgeopsError, ExitCode
from edgeops.runtime.agent.bugs import bug

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

VERBS = ("update", "run", "status", "rollback", "serve")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    options = parser().parse_args(arguments)
    try:
        result = work(options.verb, vars(options))
    except EdgeopsError as error:
        _refuse(error, as_json=options.json)
        return int(error.exit_code)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: what is installed goes on serving\n")
        return int(ExitCode.INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - the funnel: whatever else comes up is our bug
        _refuse(bug(error), as_json=options.json)
        return int(ExitCode.BUG)
    if result is not None:
        _say(result, as_json=options.json)
    return int(ExitCode.OK)


def parser() -> argparse.ArgumentParser:
    """Return the command line: every verb takes the same options and uses those it needs."""
    top = argparse.ArgumentParser(
        prog="edgeops-agent", description="Keep this device at what its channel offers."
    )
    top.add_argument("--version", action="version", version=f"edgeops-agent {__version__}")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, text in HELP.items():
        one = verbs.add_parser(name, help=text, description=text)
        _add(one, name)
    return top


HELP = {
    "update": "Look for a release once, and switch to it when it is well.",
    "run": "Look for releases again and again, as HOME/agent.json says.",
    "status": "Say what is installed, from files alone.",
    "rollback": "Serve the previous release again and take this one no more.",
    "serve": "Answer requests of applications over a Unix socket and loopback HTTP.",
}


def _add(one: argparse.ArgumentParser, verb: str) -> None:
    one.add_argument("--home", metavar="DIR", required=True, help="The agent's folder.")
    one.add_argument("--json", action="store_true", help="Print JSON.")
    # Every verb takes these, so that a program may call all of them alike.
    looks = verb in ("update", "run")
    one.add_argument("--repo", metavar="URL", required=looks, help="http(s)://... or a folder.")
    one.add_argument("--root", metavar="ROOT.JSON", help="Whom to trust; once is enough.")
    one.add_argument("--channel", help="The only one, or stable, when left out.")
    one.add_argument("--target", help="Chosen by what this device is when left out.")
    one.add_argument("--device-id", metavar="ID", help="A random one when left out.")
    if looks:
        one.add_argument("--max-bytes", type=int, metavar="N", help="Bound of the storage.")
        one.add_argument(
            "--evict-previous",
            action="store_true",
            help="Give up the previous release where a new one has no room.",
        )
        one.add_argument("--retry", action="store_true", help="Take also what was refused before.")
        one.add_argument(
            "--verify", action="store_true", help="Look at every byte of what is installed, too."
        )
    if verb == "run":
        one.add_argument(
            "--once",
            action="store_true",
            help="End after the first update, or at once when now is no time for one.",
        )
    if verb == "rollback":
        one.add_argument("--reason", help="What to remember of it.")
    if verb == "serve":
        one.add_argument("--port", type=int, help="Answer on this port of 127.0.0.1 too.")
        one.add_argument("--http", metavar="HOST:PORT", help="Answer on this address too.")
        one.add_argument(
            "--expose",
            action="store_true",
            help="Allow --http an address that other machines reach; nobody is asked who they are.",
        )
        one.add_argument(
            "--isolate", action="store_true", help="Keep each model in a process of its own."
        )


def work(verb: str, given: Mapping[str, Any]) -> dict[str, Any] | None:
    """Do what a verb says with its options by name, and return the result to print, if any."""
    home = Path(given["home"])
    if verb == "status":
        from edgeops.runtime.agent.status import status

        return status(home)
    if verb == "rollback":
        from edgeops.runtime.agent.rollback import BY_HAND, rollback

        return rollback(home, given.get("reason") or BY_HAND)
    if verb == "serve":
        return _serve(home, given)
    from edgeops.runtime.agent.update import update

    options = options_from(given)
    if verb == "update":
        return _as_wanted(update(options))
    from edgeops.runtime.agent.daemon import run
    from edgeops.runtime.agent.home import Home
    from edgeops.runtime.agent.renew import Renewal
    from edgeops.runtime.agent.trouble import disk

    with disk(home):
        Home(home).prepare()
    renewal = Renewal(home, sys.argv[1:])
    renewal.take_over()

    def once(stop: Callable[[], bool]) -> dict[str, Any]:
        with renewal.cycle(stop):
            result = update(options, stop=stop)
        if not stop():
            renewal.take_over(stop)
        return result

    run(home, once, once=bool(given.get("once")))
    renewal.ended()
    return None


def _as_wanted(result: dict[str, Any]) -> dict[str, Any]:
    """Return the result of an update, unless the device refused before what its channel offers.

    What a person took back is as wanted. Raises RefusedError ``release-refused``, or TrustError with the
    code that files which are wrong had.
    """
    from edgeops.runtime.agent.rollback import ROLLED_BACK
    from edgeops.runtime.agent.trouble import refused_before

    for digest, entry in (result.get("refused") or {}).items():
        if entry.get("code") != ROLLED_BACK:
            error = refused_before(result["available"]["version"], digest, entry)
            error.result = result
            raise error
    return result


def placed(given: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return options by name whose relative paths are below a folder."""
    paths = {name: str(folder / given[name]) for name in ("home", "root") if given.get(name)}
    repo = given.get("repo")
    if repo and "://" not in repo:
        paths["repo"] = str(folder / repo)
    return {**given, **paths}


def options_from(given: Mapping[str, Any]) -> Any:
    """Return the options of an update from those of the command line, by name."""
    from edgeops.runtime.agent.update import Options

    return Options(
        home=Path(given["home"]),
        repo=given["repo"],
        root=Path(given["root"]) if given.get("root") else None,
        channel=given.get("channel"),
        target=given.get("target") or "",
        device_id=given.get("device_id") or "",
        max_bytes=given.get("max_bytes"),
        evict_previous=bool(given.get("evict_previous")),
        retry=bool(given.get("retry")),
        verify=bool(given.get("verify")),
    )


def _serve(home: Path, given: Mapping[str, Any]) -> dict[str, Any] | None:
    from edgeops.runtime.serving.server import serve

    return serve(home, given)


def lines(result: Mapping[str, Any]) -> list[str]:
    """Return a result as text."""
    if "state" not in result:
        return []
    current, previous = result.get("current"), result.get("previous")
    rows = [f"current:   {_named(current)}", f"previous:  {_named(previous)}"]
    if result.get("outcome"):
        rows.insert(0, f"{result['outcome']}{': ' + result['why'] if result.get('why') else ''}")
    rows.append(f"state:     {result['state']}")
    if result.get("problem"):
        rows.append(f"problem:   {result['problem']}")
    if result.get("available"):
        rows.append(f"available: {_named(result['available'])}")
    if result.get("requests"):
        rows.append(f"fetched:   {result['bytes_downloaded']} bytes, {result['requests']} requests")
    for digest, entry in (result.get("refused") or {}).items():
        rows.append(f"refused:   {digest[:19]}: {entry['why']}")
    if result.get("outcome") == "refused":
        rows.append("again:     update with --retry takes it up all the same")
    return rows


def _named(slot: Mapping[str, Any] | None) -> str:
    return f"{slot['version']} ({slot['digest'][:19]})" if slot else "none"


def _say(result: Mapping[str, Any], *, as_json: bool) -> None:
    text = json.dumps(result, indent=2, default=str) if as_json else "\n".join(lines(result))
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _refuse(error: EdgeopsError, *, as_json: bool) -> None:
    if as_json:
        _say(error.to_json(), as_json=True)
        return
    rows = [f"error: {error.what} [{error.code}]"]
    told = (("where", error.where), ("why", error.why), ("fix", error.fix))
    rows += [f"{name + ':':<7}{text}" for name, text in told if text]
    sys.stderr.write("\n".join(rows) + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
