"""Orchestrator: one run of a scenario, from the first process to the last count.

It starts the agent and the runners, waits until every connection carries messages, lets the load begin,
carries out what people and the scenario's events ask for, and ends so that nothing is lost that need not be:
producers stop, consumers drain until the books balance, every end tells its final counts, and only then are
sockets closed. All public methods may be called from any thread.
"""

from __future__ import annotations

import atexit
import queue
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from mqviz.errors import CannotRun, MqvizError, RunnerFailed, ScenarioError
from mqviz.simulation import engine as engines
from mqviz.simulation import folder, placement, private, result
from mqviz.simulation.plan import Command, Reply, Wire
from mqviz.simulation.process import Child
from mqviz.simulation.scenario import Node, Scenario, changed, topology, validate
from mqviz.simulation.wiring import Placed, Wiring
from mqviz.telemetry import clock, probe
from mqviz.telemetry.collector import Collector
from mqviz.telemetry.recording import Recording
from mqviz.telemetry.sample import Mark
from mqviz.telemetry.store import Store

START_S = 60.0
"""A cold native engine compiles first; then 200 sockets connect."""
READY_S = 15.0
LEAD_NS = 100_000_000
"""Between the order to go and the first intended time: the order must have arrived everywhere."""
STALL_S = 2.0
"""A drain without progress for this long has come to its end."""
CLOSE_S = 3.0
INTERVAL_MS = 100
AGENT_RESTARTS = 3


class InstanceView(msgspec.Struct, frozen=True):
    """An instance as people see it."""

    name: str
    node: str
    index: int
    incarnation: int
    alive: bool
    pid: int | None
    state: str


class Orchestrator:
    """One run. `start()` once, then steer it, then `stop()`."""

    def __init__(
        self,
        scenario: Scenario,
        *,
        engine: str = "auto",
        out: Path | None = None,
        record: bool = True,
    ) -> None:
        """`out`: the run folder itself; else one in ./mqviz-runs, made when the run starts. `record`: no
        folder at all when False."""
        self.scenario = scenario
        self.engine = engines.choose(engine if engine != "auto" else scenario.engine)
        self.store = Store(topology(scenario), clock.anchor())
        self.folder: Path | None = None
        self._out = out
        self._record = record
        self._facts: dict[str, Any] = {}
        self.state = "idle"
        self.error: str | None = None
        self.began_ns = 0
        self.measure_ns = 0
        self.ended_ns = 0
        self._until_ns: int | None = None
        self._lock = threading.RLock()  # one change at a time
        self._news = threading.Condition()
        self._ended = threading.Event()
        self._stopping = threading.Event()
        self._drain_limit_s = scenario.drain_ns / 1e9
        self._private: Path | None = None
        self._collector: Collector | None = None
        self._recording: Recording | None = None
        self._agent: Child | None = None
        self._agents = 0
        self._children: dict[str, Child] = {}
        self._plans: dict[Child, str] = {}
        self._probes: dict[str, probe.Probe] = {}
        self._instances: list[Placed] = []
        self._paused: set[str] = set()
        self._replies: dict[tuple[Child, str], list[Reply]] = {}
        self._exited: dict[Child, int] = {}
        self._tickets = 0
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._conductor: threading.Thread | None = None
        self._wiring: Wiring | None = None

    # ---- what people see

    @property
    def elapsed_s(self) -> float:
        """Since the load began; it stands still when the run has ended."""
        if not self.began_ns:
            return 0.0
        return max(0, (self.ended_ns or clock.now_ns()) - self.began_ns) / 1e9

    def instances(self) -> list[InstanceView]:
        """The latest incarnation of each instance, in the order of the scenario."""
        latest: dict[tuple[str, int], Placed] = {}
        for placed in list(self._instances):
            latest[placed.node, placed.index] = placed
        order = {node.name: n for n, node in enumerate(self.scenario.nodes)}
        views = []
        for placed in sorted(latest.values(), key=lambda p: (order[p.node], p.index)):
            child = self._children.get(placed.runner)
            pid = child.pid if child and placed.alive else None
            state = placed.state
            views.append(
                InstanceView(
                    placed.name, placed.node, placed.index, placed.incarnation, placed.alive, pid, state
                )
            )
        return views

    def node(self, name: str) -> Node:
        """A node as it is now, live changes included. Raises ScenarioError for an unknown name."""
        nodes = self._wiring.nodes if self._wiring else {n.name: n for n in self.scenario.nodes}
        if name not in nodes:
            raise ScenarioError(f'node "{name}"', f"there is none; the nodes are {', '.join(nodes)}")
        return nodes[name]

    # ---- start

    def start(self) -> None:
        """Start everything; returns when the load flows.

        Raises CannotRun (and leaves nothing behind) when a process, socket or folder cannot be had.
        """
        with self._lock:
            if self.state != "idle":
                raise CannotRun(f"this run is {self.state}: a run starts once; make a new one")
            self.state = "starting"
            atexit.register(self._at_exit)
            try:
                self._start()
            except BaseException as error:
                self.error = str(error) or type(error).__name__
                self._tear_down()
                self._write("failed")
                self.state = "failed"
                self._ended.set()
                raise

    def _start(self) -> None:
        if self.engine == "native":
            from mqviz.simulation.engine import native_cache

            native_cache.warm(self._stopping.is_set)
        if self._record:
            self.folder = folder.create(self.scenario, self._out)
            self._facts = folder.facts(self.scenario, self.engine)
            self._write("running")
            self._recording = Recording(self.folder, self.store.topology, self.store.anchor)
        # one right after the other: should the lab be killed, the agent takes the folder away
        self._private = private.create()
        self._start_agent()
        self._collector = Collector(self.store, f"ipc://{self._private}/collector.ipc", self._recording)
        self._collector.start()
        self._mark("phase", "starting", data={"phase": "starting"})
        self._wiring = Wiring(self.scenario, self._private, self.engine, secrets.randbits(16))
        placed: list[Placed] = []
        processes = []
        for seats in placement.place(self.scenario):
            loops = [[self._wiring.new_instance(s.node, i, 0) for i in s.indices] for s in seats]
            processes.append(loops)
            placed.extend(p for loop in loops for p in loop)
        self._bring_up(processes)
        self._go(placed)
        self._conductor = threading.Thread(target=self._conduct, name="mqviz-conductor", daemon=True)
        self._conductor.start()

    def _write(self, state: str) -> None:
        """run.json, as far as the run is known now."""
        if self.folder is not None:
            found = result.document(self.store, self.scenario, self.engine, state)
            folder.write(self.folder, {**self._facts, **found})

    def document(self) -> dict[str, Any]:
        """What the run came to, or has come to so far: the document of `mqviz run --json`."""
        return result.document(self.store, self.scenario, self.engine, self.state)

    def _start_agent(self) -> None:
        assert self._private is not None
        self._agents += 1
        line = msgspec.json.encode(
            {
                "agent": f"agent-{self._agents}",
                "folder": str(self._private),
                "collector": f"ipc://{self._private}/collector.ipc",
                "interval_ms": INTERVAL_MS,
            }
        )
        self._agent = Child(
            "mqviz.telemetry.agent",
            line,
            self._private / f"agent-{self._agents}.log",
            self._heard,
            self._gone,
        )

    def _bring_up(self, processes: list[list[list[Placed]]]) -> None:
        """Start runners, learn their endpoints, connect all that belongs together, and wait for the hellos."""
        assert self._wiring is not None and self._private is not None
        children = []
        for loops in processes:
            plan = self._wiring.runner_plan(loops)
            log = self._private / f"{plan.runner}.log"
            child = Child("mqviz.simulation.runner", msgspec.json.encode(plan), log, self._heard, self._gone)
            self._children[plan.runner] = child
            self._plans[child] = plan.runner
            children.append((child, plan, loops))
        fresh = []
        for child, plan, loops in children:
            reply = self._await(child, "bound", START_S, until_stop=True)[-1]
            endpoints = {(node, index, link): end for node, index, link, _, end in reply.data}
            for placed in (p for loop in loops for p in loop):
                placed.endpoints = {
                    name: endpoints[placed.node, placed.index, name] for name in placed.numbers
                }
                fresh.append(placed)
            self._probes[plan.runner] = probe.Probe.open(Path(plan.probe))
        for placed in fresh:
            placed.state = "running"
            self._instances.append(placed)
            subscribe = {
                link.name: list(self._wiring.nodes[placed.node].subscribe)
                for link in self._wiring.in_links(placed.node)
                if link.pattern == "pub-sub"
            }
            self._mark(
                "birth",
                data={
                    "instance": placed.name,
                    "node": placed.node,
                    "incarnation": placed.incarnation,
                    "runner": placed.runner,
                    "subscribe": subscribe,
                },
            )
        self._connect(fresh)

    def _connect(self, fresh: list[Placed]) -> None:
        """Wire instances to each other and to those that were there before; wait until each has heard the new."""
        assert self._wiring is not None
        new = {id(p) for p in fresh}
        living = [p for p in self._instances if p.alive]
        wires: dict[tuple[str, str], list[Wire]] = {}
        for link in self._wiring.links.values():
            sources = [p for p in living if p.node == link.source]
            targets = [p for p in living if p.node == link.target]
            for source in sources:
                for target in targets:
                    if (id(source) in new or id(target) in new) and self._wiring.joined(link, source, target):
                        wire = Wire(
                            target.index,
                            link.name,
                            source.numbers[link.name],
                            source.endpoints[link.name],
                            hello=id(source) in new,
                        )
                        wires.setdefault((target.runner, target.node), []).append(wire)
                        if link.pattern == "pub-sub":
                            self._mark_join(link.name, source, target)
        waiting = []
        for (runner, node), some in wires.items():
            loops: dict[int, list[Wire]] = {}
            for wire in some:
                loops.setdefault(self._loop_of(runner, node, wire.index), []).append(wire)
            for mine in loops.values():
                self._tickets += 1
                child = self._children[runner]
                child.say(Command(do="connect", node=node, wires=tuple(mine), ticket=self._tickets))
                waiting.append((child, self._tickets))
        for child, ticket in waiting:
            self._await(child, "ready", READY_S, partial(_answers, ticket), until_stop=True)

    def _loop_of(self, runner: str, node: str, index: int) -> int:
        """A number for the thread that an instance is in: inproc groups have one for each instance."""
        inproc = any(
            link.transport == "inproc" and node in (link.source, link.target) for link in self.scenario.links
        )
        return index if inproc else -1

    def _go(self, placed: list[Placed]) -> None:
        now = clock.now_ns()
        if not self.began_ns:
            self.began_ns = now + LEAD_NS
            self.measure_ns = self.began_ns + self.scenario.warmup_ns
            if self.scenario.duration_ns is not None:
                self._until_ns = self.began_ns + self.scenario.duration_ns
        command = Command(
            do="go",
            at_ns=max(self.began_ns, now),
            measure_ns=self.measure_ns,
            until_ns=self._until_ns,
        )
        for runner in dict.fromkeys(p.runner for p in placed):
            self._children[runner].say(command)

    # ---- hearing from children (reader threads)

    def _heard(self, child: Child, reply: Reply) -> None:
        with self._news:
            self._replies.setdefault((child, reply.what), []).append(reply)
            self._news.notify_all()

    def _gone(self, child: Child, code: int) -> None:
        with self._news:
            self._exited[child] = code
            self._news.notify_all()
        self._jobs.put(lambda: self._on_exit(child, code))

    def _await(
        self,
        child: Child,
        what: str,
        timeout_s: float,
        fits: Callable[[Reply], bool] = lambda _: True,
        *,
        until_stop: bool = False,
    ) -> list[Reply]:
        """Replies of a kind, at least one. Raises RunnerFailed when the child fails, ends or is silent, and
        CannotRun when the run is to end meanwhile and `until_stop` is set."""
        deadline = time.monotonic() + timeout_s
        with self._news:
            while True:
                found = [r for r in self._replies.get((child, what), ()) if fits(r)]
                if found:
                    return found
                # at the start nobody can do without the others: no need to wait for the hello of a dead one
                together = self._plans if self._conductor is None else ()
                for other in dict.fromkeys((child, *together)):
                    if other in self._exited or (other, "failed") in self._replies:
                        raise RunnerFailed(f"a runner ended by itself: {self._last_words(other)}")
                if until_stop and self._stopping.is_set():
                    raise CannotRun("the run is ending")
                left = deadline - time.monotonic()
                if left <= 0:
                    raise RunnerFailed(f"a runner did not say {what!r} within {timeout_s:g} s")
                self._news.wait(left)

    def _last_words(self, child: Child) -> str:
        """Why a runner ended: what it said itself, or wrote to stderr, or its exit code."""
        failed = self._replies.get((child, "failed"))
        words = failed[0].text.strip().splitlines()[-1] if failed else child.last_words()
        code = self._exited.get(child, 0)
        return words or (f"signal {-code}" if code < 0 else f"exit code {code}")

    # ---- the conductor: phases, events, deaths, the end (its own thread)

    def _conduct(self) -> None:
        timers: list[tuple[int, Callable[[], None]]] = []
        if self.scenario.warmup_ns:
            timers.append((self.began_ns, lambda: self._enter("warm-up", self.began_ns)))
        timers.append((self.measure_ns, lambda: self._enter("measure", self.measure_ns)))
        timers.extend(
            (self.began_ns + event.at_ns, partial(self._carry_out, event)) for event in self.scenario.events
        )
        timers.sort(key=lambda timer: timer[0])
        try:
            while not self._stopping.is_set():
                now = clock.now_ns()
                if timers and timers[0][0] <= now:
                    timers.pop(0)[1]()
                    continue
                if self._until_ns is not None and now >= self._until_ns:
                    break
                nearest = min([t for t, _ in timers[:1]] + [self._until_ns or now + 1_000_000_000])
                self._do_job((nearest - now) / 1e9)
            self._end()
            self.state = "ended"
        except Exception as error:  # whatever it is, nothing may be left running
            self.error = str(error) or type(error).__name__
            self._tear_down()
            self._write("failed")
            self.state = "failed"
        finally:
            self._ended.set()

    def _do_job(self, timeout_s: float) -> None:
        try:
            job = self._jobs.get(timeout=max(0.0, min(timeout_s, 1.0)))
        except queue.Empty:
            return
        if job is not None:
            job()

    def _enter(self, phase: str, at_ns: int) -> None:
        self.state = phase
        self._mark("phase", phase, data={"phase": phase}, at_ns=at_ns)

    def _carry_out(self, event: Any) -> None:
        """A scenario's event; what cannot be done now is told as a mark, the run goes on."""
        acts: dict[str, Callable[[], Any]] = {
            "set": lambda: self.set(event.node, **event.fields),
            "kill": lambda: self.kill(event.node, event.instance or 0),
            "stop": lambda: self.halt(event.node, event.instance or 0),
            "start": lambda: self.revive(event.node, event.instance),
            "pause": lambda: self.pause(event.node),
            "resume": lambda: self.resume(event.node),
        }

        # its own thread: a restart waits for hellos, and the next event must not wait for it
        def act() -> None:
            try:
                acts[event.action]()
            except MqvizError as error:
                self._mark("event", f"{event.action} {event.node} failed: {error}")

        threading.Thread(target=act, name="mqviz-event", daemon=True).start()

    def _on_exit(self, child: Child, code: int) -> None:
        if child.expected or self._ended.is_set():
            return
        if child is self._agent:
            if self._agents > AGENT_RESTARTS:
                raise RunnerFailed(f"the agent ended {self._agents} times, last with exit code {code}")
            self._mark("event", f"the agent ended (exit code {code}) and was started again")
            self._start_agent()
        elif child in self._plans:
            names = self._bury(child)
            text = f"{', '.join(names)} ended by itself ({self._last_words(child)})"
            self._mark("event", text, data={"instances": names})

    def _bury(self, child: Child) -> list[str]:
        """Books for a runner that has died: called after waitpid, so its counters stand still."""
        with self._lock:
            dead = [p for p in self._instances if p.runner == self._plans[child] and p.alive]
            self._leave(dead, "peer-death")
            return [p.name for p in dead]

    def _leave(self, gone: list[Placed], cause: str) -> None:
        """Marks for instances that take no more part, and word to the receivers of those that sent."""
        assert self._wiring is not None
        for placed in gone:
            placed.alive = False
            placed.state = "dead" if cause == "peer-death" else "stopped"
            self._mark(
                "death",
                data={
                    "instance": placed.name,
                    "node": placed.node,
                    "incarnation": placed.incarnation,
                    "cause": cause,
                },
            )
        for target in gone:
            for link in self._wiring.in_links(target.node):
                if link.pattern == "pub-sub":
                    for source in self._instances:
                        if source.node == link.source and self._wiring.joined(link, source, target):
                            self._mark_leave(link.name, source, target, cause)
        wires: dict[tuple[str, str], list[Wire]] = {}
        for source in gone:
            for link in self._wiring.out_links(source.node):
                for target in self._instances:
                    if (
                        target.alive
                        and target.node == link.target
                        and self._wiring.joined(link, source, target)
                    ):
                        wire = Wire(target.index, link.name, source.numbers[link.name])
                        wires.setdefault((target.runner, target.node), []).append(wire)
        for (runner, node), some in wires.items():
            self._children[runner].say(Command(do="disconnect", node=node, wires=tuple(some)))

    # ---- steering

    def kill(self, node: str, instance: int) -> list[str]:
        """SIGKILL the runner of an instance. Returns the names of all instances that were in it."""
        with self._lock:
            placed = self._living(node, instance)
            child = self._children[placed.runner]
            child.expected = True
            child.process.kill()
            child.join(5.0)
            names = self._bury(child)
            also = f" (with {', '.join(n for n in names if n != placed.name)})" if len(names) > 1 else ""
            self._mark("event", f"kill {placed.name}{also}", data={"node": node, "instances": names})
            return names

    def revive(self, node: str, instance: int | None = None) -> list[str]:
        """Start instances that have died or were stopped: one, or all of the node. Returns their names.

        Each is a new incarnation with new producer numbers, never a counter that goes back.
        """
        with self._lock:
            self._running()
            count = self.node(node).count
            views = {v.index: v for v in self.instances() if v.node == node}
            wanted = range(count) if instance is None else [instance]
            for index in wanted:
                if not 0 <= index < count:
                    raise ScenarioError(f'node "{node}"', f"has instances 0 to {count - 1}, not {index}")
            gone = [i for i in wanted if i not in views or not views[i].alive]
            if not gone:
                return []
            names = self._add(node, {i: views[i].incarnation + 1 if i in views else 0 for i in gone})
            self._mark("event", f"start {', '.join(names)}", data={"node": node, "instances": names})
            return names

    def _add(self, node: str, incarnations: dict[int, int]) -> list[str]:
        assert self._wiring is not None
        if any(
            link.transport == "inproc" for link in self.scenario.links if node in (link.source, link.target)
        ):
            raise CannotRun(
                f'node "{node}" has an inproc link: its instances live in one process and cannot be added '
                "while it runs; use tcp or ipc, or start the run again"
            )
        self._wiring.check_room(node, len(incarnations))
        alone = len(incarnations) <= placement.ALONE_UP_TO // 2
        processes = []
        fresh = []
        for seat in placement.seats(node, list(incarnations), alone):
            loop = [self._wiring.new_instance(node, i, incarnations[i]) for i in seat.indices]
            processes.append([loop])
            fresh.extend(loop)
        try:
            self._bring_up(processes)
        except BaseException:
            self._abandon(fresh)
            raise
        self._go(fresh)
        if node in self._paused:
            self._order(node, Command(do="pause", node=node), "paused")
        return [p.name for p in fresh]

    def _abandon(self, fresh: list[Placed]) -> None:
        """End the runners of instances that could not be added; the numbers they had are used up."""
        for runner in dict.fromkeys(p.runner for p in fresh):
            if (child := self._children.get(runner)) is not None:
                child.expected = True
                child.process.kill()
                child.join(CLOSE_S)
                self._bury(child)
        for placed in fresh:
            if placed.alive:  # it had not come so far as to be born
                placed.alive, placed.state = False, "dead"
                self._instances.append(placed)

    def halt(self, node: str, instance: int) -> None:
        """End one instance gracefully: a producer flushes within its linger, a consumer leaves."""
        with self._lock:
            placed = self._living(node, instance)
            child = self._children[placed.runner]
            child.say(Command(do="halt", node=node, index=instance))
            self._await(
                child, "halted", CLOSE_S, lambda reply: reply.node == node and reply.index == instance
            )
            self._leave([placed], "linger")
            if not any(p.alive for p in self._instances if p.runner == placed.runner):
                child.expected = True
                child.say(Command(do="close"))
            self._mark("event", f"stop {placed.name}", data={"node": node, "instances": [placed.name]})

    def pause(self, node: str) -> None:
        """Producers stop their schedule (none becomes due), receivers stop reading."""
        with self._lock:
            self._running()
            self.node(node)
            self._paused.add(node)
            self._order(node, Command(do="pause", node=node), "paused")
            self._mark("event", f"pause {node}", data={"node": node})

    def resume(self, node: str) -> None:
        """Go on after a pause."""
        with self._lock:
            self._running()
            self.node(node)
            self._paused.discard(node)
            self._order(node, Command(do="resume", node=node), "running")
            self._mark("event", f"resume {node}", data={"node": node})

    def _order(self, node: str, command: Command, state: str | None = None) -> None:
        """A command to all living instances of a node."""
        living = [p for p in self._instances if p.node == node and p.alive]
        for placed in living:
            placed.state = state or placed.state
        for runner in dict.fromkeys(p.runner for p in living):
            self._children[runner].say(command)

    def set(self, node: str, **fields: Any) -> None:
        """Change rate, size, service or count of a node while it runs.

        Values are as in a scenario. Raises ScenarioError for a bad one; nothing is changed then.
        """
        with self._lock:
            self._running()
            assert self._wiring is not None
            before = self.node(node)
            after = changed(before, **fields)
            if not fields:
                raise ScenarioError(
                    f'node "{node}"', "set needs what is to change: rate, size, service, count"
                )
            nodes = self._wiring.nodes | {node: after}
            validate(msgspec.structs.replace(self.scenario, nodes=tuple(nodes.values()), events=()))
            unlimited = after.rate == float("inf") if after.role == "producer" else False
            words = ", ".join(f"{key} = {value}" for key, value in fields.items())
            if "count" in fields and after.count != before.count:
                self._resize(node, before, after)
            self._wiring.nodes[node] = after
            command = Command(
                do="set",
                node=node,
                rate=after.rate if "rate" in fields and not unlimited else None,
                maximum="rate" in fields and unlimited,
                count=after.count if after.count != before.count else None,
                size=after.size.text if "size" in fields else None,
                service=after.service.text if "service" in fields else None,
            )
            self._order(node, command)
            self._mark("event", f"set {node}: {words}", data={"node": node, "count": after.count})

    def _resize(self, node: str, before: Node, after: Node) -> None:
        assert self._wiring is not None
        views = {v.index: v for v in self.instances() if v.node == node}
        if after.count > before.count:
            self._wiring.nodes[node] = after
            try:
                new = range(before.count, after.count)
                self._add(node, {i: views[i].incarnation + 1 if i in views else 0 for i in new})
            except MqvizError:
                self._wiring.nodes[node] = before
                raise
        else:
            for index in range(after.count, before.count):
                if index in views and views[index].alive:
                    self.halt(node, index)

    def _running(self) -> None:
        if self.state not in ("warm-up", "measure", "starting"):
            raise CannotRun(f"the run is {self.state}: there is nothing to steer")

    def _living(self, node: str, instance: int) -> Placed:
        self._running()
        self.node(node)
        for placed in reversed(self._instances):
            if placed.node == node and placed.index == instance and placed.alive:
                return placed
        alive = [p.index for p in self._instances if p.node == node and p.alive]
        raise ScenarioError(
            f'node "{node}"', f"instance {instance} is not alive; alive are {alive or 'none'}"
        )

    # ---- the end

    def wait(self, seconds: float | None = None) -> bool:
        """Until the run has ended (True) or the time is over (False). Interrupting it leaves the run alone."""
        return self._ended.wait(seconds)

    def stop(self, limit_s: float | None = None) -> None:
        """End the run by the end protocol and keep the results; again: nothing.

        `limit_s`: the drain may take no longer (1 s for Ctrl-C).
        """
        if self.state == "idle":
            self.state = "ended"
            self._ended.set()
            return
        if limit_s is not None:
            self._drain_limit_s = min(self._drain_limit_s, limit_s)
        self._stopping.set()
        self._jobs.put(None)
        with self._news:
            self._news.notify_all()
        self._ended.wait()
        if self._conductor is not None and self._conductor is not threading.current_thread():
            self._conductor.join()

    def _at_exit(self) -> None:
        if not self._ended.is_set() and self.state not in ("idle", "starting"):
            self.stop(0.0)

    def _end(self) -> None:
        with self._lock:
            self.ended_ns = min(clock.now_ns(), self._until_ns or clock.now_ns())
            self._enter("drain", self.ended_ns)
            producers = [p for p in self._instances if p.alive and self.node(p.node).role == "producer"]
            runners = dict.fromkeys(p.runner for p in producers)
            for runner in runners:
                self._children[runner].say(Command(do="finish"))
            for runner in runners:
                self._settled(self._children[runner], {p.node for p in producers if p.runner == runner})
            drained = self._drain()
            self._close(drained)

    def _settled(self, child: Child, nodes: Iterable[str]) -> None:
        """Its producers' counts are final, or it has died meanwhile."""
        for node in nodes:
            try:
                self._await(child, "done", CLOSE_S, partial(_is_about, node))
            except RunnerFailed as error:
                self._mark("event", str(error))

    def _drain(self) -> bool:
        """Wait until nothing is in flight or in service; False when it came to a halt before."""
        assert self._wiring is not None
        begun = progressed = time.monotonic()
        settled_ns = clock.now_ns()
        cursor = self.store.since(0)[1]
        last: tuple[int, ...] = ()
        balanced_once = False
        while time.monotonic() - begun < self._drain_limit_s:
            self._do_job(INTERVAL_MS / 1e3)
            if not any(p.alive and self._wiring.in_links(p.node) for p in self._instances):
                return True
            rows, cursor = self.store.since(cursor)
            # only readings from after the last send count, and two of them: between a worker's two links
            # a message is in neither
            if not len(rows) or rows.at_ns[-1] < settled_ns:
                continue
            totals = [self.store.totals(link.name) for link in self.scenario.links]
            counts = tuple(
                n for t in totals for n in (t.sent, t.received, t.worked_off, sum(t.lost.values()))
            )
            balanced = all(
                t.sent - t.received - sum(v for k, v in t.lost.items() if k != "unresolved") == 0
                and t.received == t.worked_off
                for t in totals
            )
            if balanced and balanced_once and counts == last:
                return True
            balanced_once = balanced
            if counts != last:
                last, progressed = counts, time.monotonic()
            elif time.monotonic() - progressed > STALL_S:
                return not self._paused
        return False

    def _close(self, drained: bool) -> None:
        """Final counts, then sockets, then processes, then files."""
        living = [c for c in self._children.values() if c not in self._exited]
        for child in living:
            child.expected = True
            child.say(Command(do="close"))
        deadline = time.monotonic() + CLOSE_S
        for child in living:
            if not child.join(max(0.0, deadline - time.monotonic())):
                child.process.kill()
                child.join(CLOSE_S)
        for placed in self._instances:
            if placed.alive:
                placed.alive, placed.state = False, "stopped"
        if self._agent is None or not self._agent.alive:
            self._start_agent()
        assert self._agent is not None and self._collector is not None
        self._agent.expected = True
        self._agent.say_line(b"final")
        if not self._collector.wait_final(CLOSE_S):
            self._mark("event", "the agent's last report did not come")
        self._agent.join(CLOSE_S)
        if self._recording is not None and self._recording.failed is not None:
            self._mark("event", self._recording.failed)
        self._mark("phase", "ended", data={"phase": "ended", "drained": drained})
        self._tear_down()
        self._write("ended")

    def _tear_down(self) -> None:
        """End all that is left; safe at any point, and twice."""
        atexit.unregister(self._at_exit)
        children = [*self._children.values(), *([self._agent] if self._agent else [])]
        for child in children:
            child.expected = True
            if child.alive:
                child.process.kill()
        for child in children:
            child.join(CLOSE_S)
        if self._collector is not None:
            self._collector.stop()
        if self._recording is not None:
            self._recording.close()
        for opened in self._probes.values():
            opened.close()
        self._probes.clear()
        if self._private is not None:
            private.remove(self._private)

    # ---- marks

    def _mark(self, kind: str, text: str = "", *, data: dict[str, Any] | None = None, at_ns: int = 0) -> None:
        mark = Mark(at_ns or clock.now_ns(), kind, text, data or {})
        if self._collector is not None:
            self._collector.mark(mark)

    def _mark_join(self, link: str, source: Placed, target: Placed) -> None:
        published = self._published(link, source)
        self._mark("join", data={**_pair(link, source, target), "start": published})

    def _mark_leave(self, link: str, source: Placed, target: Placed, cause: str) -> None:
        published = self._published(link, source)
        self._mark("leave", data={**_pair(link, source, target), "end": published, "cause": cause})

    def _published(self, link: str, source: Placed) -> list[int]:
        """Publications per topic, read from the publisher's own probe."""
        counters = self._probes[source.runner]
        for block in counters.schema.instances:
            if block.name == source.name and block.incarnation == source.incarnation:
                for end in block.sends:
                    if end.link == link:
                        at = end.offset + probe.SEND_WORDS
                        return [int(n) for n in counters.words[at : at + end.topics]]
        raise KeyError(link)


def _answers(ticket: int, reply: Reply) -> bool:
    return reply.ticket == ticket


def _is_about(node: str, reply: Reply) -> bool:
    return reply.node == node


def _pair(link: str, source: Placed, target: Placed) -> dict[str, Any]:
    return {
        "link": link,
        "producer": source.numbers[link],
        "subscriber": target.name,
        "incarnation": target.incarnation,
    }
