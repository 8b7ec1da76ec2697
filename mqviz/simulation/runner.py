"""Runner: a process that runs instances. `python -m mqviz.simulation.runner`, told what to do on its stdin.

The first line is a RunnerPlan, each later one a Command; the answers on stdout are Replies. Each loop is a
thread; the main thread reads commands and hands them over between slices. When the lab is gone (end of the
input, or another parent) the runner ends by itself.
"""

from __future__ import annotations

import ctypes
import os
import queue
import sys
import threading
import time
import traceback
from pathlib import Path

import msgspec
import zmq

from mqviz.errors import MqvizError
from mqviz.simulation import engine, private
from mqviz.simulation.engine.ends import HistogramPlaces, Member, open_members
from mqviz.simulation.engine.producer import Producers
from mqviz.simulation.engine.receiver import Receivers
from mqviz.simulation.plan import Command, LoopPlan, Reply, RunnerPlan
from mqviz.telemetry import clock, probe

SLICE_NS = 20_000_000
HELLO_SLICE_NS = 4_000_000
CATCH_UP_NS = 500_000_000
"""What a producer that is late, and not blocked, has after the end to send what was due before it."""
LEASE_SECONDS = 1.0
"""How often a runner looks whether its lab still lives."""


def one_ns_timer_slack() -> None:
    """Linux rounds a sleep up by 50 µs unless told otherwise; threads started later inherit this."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(29, 1, 0, 0, 0)  # PR_SET_TIMERSLACK


class Replies:
    """Standard output, one line at a time from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._out = os.fdopen(os.dup(1), "wb", buffering=0)
        os.dup2(2, 1)  # a stray print must not end up between the replies

    def say(self, reply: Reply) -> None:
        """A lab that has gone is noticed elsewhere."""
        with self._lock:
            try:
                self._out.write(msgspec.json.encode(reply) + b"\n")
            except BrokenPipeError:
                pass


class Loop:
    """One thread with the instances of one node."""

    def __init__(
        self, plan: LoopPlan, members: list[Member], load: Producers | Receivers, replies: Replies
    ) -> None:
        self.plan = plan
        self.members = members
        self.load = load
        self.commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._replies = replies
        self._going = False
        self._began_ns = 0
        self._saying_hello = any(m.senders for m in members)
        self._ticket = 0  # of a connect that has not been answered yet
        self._told_done = False
        self._closing = False
        self.thread = threading.Thread(target=self._run, name=f"mqviz-{plan.node}")

    def _run(self) -> None:
        try:
            while not self._closing:
                self._obey()
                if self._closing:
                    break
                self._turn()
            self.load.settle(clock.now_ns())
        except BaseException as error:
            text = str(error) if isinstance(error, MqvizError) else traceback.format_exc(limit=6)
            self._replies.say(Reply(what="failed", node=self.plan.node, text=text))
            os._exit(3)  # as if killed: the lab does the books of all who were in this process
        for member in self.members:
            if not member.halted:
                member.close()

    def _turn(self) -> None:
        now = clock.now_ns()
        if self._saying_hello:
            for member in self.members:
                if not member.halted:
                    for sender in member.senders:
                        sender.hello()
        if isinstance(self.load, Producers):
            self._produce(self.load, now)
        else:
            self.load.slice(now + (HELLO_SLICE_NS if self._saying_hello or self._ticket else SLICE_NS))
            # one that is paused does not read, so it cannot hear a hello
            if self._ticket and (self.load.paused or not self.load.awaits):
                self._replies.say(Reply(what="ready", node=self.plan.node, ticket=self._ticket))
                self._ticket = 0

    def _produce(self, load: Producers, now: int) -> None:
        if not self._going:
            time.sleep(HELLO_SLICE_NS / 1e9)
            return
        if now < self._began_ns:
            time.sleep(min(self._began_ns - now, SLICE_NS) / 1e9)
            return
        if load.finished:
            if not self._told_done:
                self._told_done = True
                load.settle(now)
                self._replies.say(Reply(what="done", node=self.plan.node))
            time.sleep(SLICE_NS / 1e9)
            return
        load.slice(now + HELLO_SLICE_NS if load.ending else min(now + SLICE_NS, load.until_ns))
        now = clock.now_ns()
        load.count_due(now)
        if now >= load.until_ns and not load.ending:
            load.finish(now)
        if load.ending and (now >= load.until_ns + CATCH_UP_NS or not load.catching_up):
            load.finished = True

    def _obey(self) -> None:
        while not self.commands.empty():
            command = self.commands.get()
            if command.node in ("", self.plan.node):
                self._do(command)

    def _do(self, command: Command) -> None:
        load, now = self.load, clock.now_ns()
        if command.do == "go":
            self._saying_hello = False
            self._going = True
            self._began_ns = command.at_ns
            load.begin(command.at_ns, command.measure_ns, command.until_ns)
        elif command.do == "set":
            load.change(command, now)
        elif command.do == "pause":
            load.pause(now)
        elif command.do == "resume":
            load.resume(now)
        elif command.do == "finish" and isinstance(load, Producers):
            load.finish(now)
        elif command.do == "halt":
            load.halt(command.index, now)
            self._replies.say(Reply(what="halted", node=self.plan.node, index=command.index))
        elif command.do == "connect" and isinstance(load, Receivers):
            if load.connect(command.wires):
                self._ticket = command.ticket
        elif command.do == "disconnect" and isinstance(load, Receivers):
            load.disconnect(command.wires)
        elif command.do == "close":
            self._closing = True


def lab_is_gone(parent: int) -> bool:
    """The process that started this one has ended."""
    return os.getppid() != parent


def watch_lease(parent: int, private_folder: Path) -> None:
    """End when the lab has gone. A loop may be anywhere, so only the private folder is tidied away."""
    while not lab_is_gone(parent):
        time.sleep(LEASE_SECONDS)
    private.remove(private_folder)
    os._exit(4)


def main() -> int:
    """Read the plan, open everything, run until told to close."""
    parent = os.getppid()
    one_ns_timer_slack()
    replies = Replies()
    line = sys.stdin.buffer.readline()
    if not line:
        return 4
    plan = msgspec.json.decode(line, type=RunnerPlan)
    folder = Path(plan.probe).parent
    threading.Thread(target=watch_lease, args=(parent, folder), name="mqviz-lease", daemon=True).start()
    try:
        return run(plan, replies)
    except Exception as error:
        text = str(error) if isinstance(error, MqvizError) else traceback.format_exc(limit=6)
        replies.say(Reply(what="failed", text=text))
        return 3


def run(plan: RunnerPlan, replies: Replies) -> int:
    """From the plan to the last reply."""
    chosen = engine.load(plan.engine)
    schema = probe.lay_out(plan.runner, plan.engine, instance_plans(plan))
    counters = probe.Probe.create(Path(plan.probe), schema)
    places = HistogramPlaces(schema)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    context.set(zmq.MAX_SOCKETS, 4096)
    loops = []
    bound = []
    for loop_plan in plan.loops:
        members = open_members(context, loop_plan, schema, counters.words, plan.run_number)
        kind = chosen.producers if loop_plan.role == "producer" else chosen.receivers
        load = kind(loop_plan, members, counters.words, places, plan.seed)
        loops.append(Loop(loop_plan, members, load, replies))
        for member in members:
            for sender in member.senders:
                bound.append([loop_plan.node, member.index, sender.link, sender.plan.number, sender.endpoint])
    for loop in loops:
        loop.thread.start()
    replies.say(Reply(what="bound", data=bound))
    if not obey(loops):
        private.remove(Path(plan.probe).parent)
        os._exit(4)  # the lab has gone, and a loop may be anywhere
    for loop in loops:
        loop.thread.join()
    replies.say(Reply(what="closed"))
    context.term()
    return 0


def obey(loops: list[Loop]) -> bool:
    """Hand commands to the loops until one closes them (True), or the lab has gone (False)."""
    decoder = msgspec.json.Decoder(Command)
    for line in sys.stdin.buffer:
        command = decoder.decode(line)
        for loop in loops:
            loop.commands.put(command)
        if command.do == "close":
            return True
    return False


def instance_plans(plan: RunnerPlan) -> list[probe.InstancePlan]:
    """What the probe needs room for."""
    return [
        probe.InstancePlan(
            node=loop.node,
            index=instance.index,
            incarnation=instance.incarnation,
            receives=tuple(probe.ReceivePlan(r.link, r.rows, r.terminal) for r in instance.receives),
            sends=tuple(probe.SendPlan(s.link, s.number, len(s.topics)) for s in instance.sends),
        )
        for loop in plan.loops
        for instance in loop.instances
    ]


if __name__ == "__main__":
    sys.exit(main())
