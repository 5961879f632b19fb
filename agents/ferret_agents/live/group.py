"""The agents of one process: one for each section of the configuration, each with its own socket and numbers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

import structlog

from ferret.errors import ConfigError
from ferret.queue import MessageQueue
from ferret_agents.live.agent import AgentConfig, LiveAgent
from ferret_agents.live.counters import AgentCounters

_log = structlog.get_logger("ferret.agent")


class AgentGroup:
    """Opens, starts and stops them together, and changes their filters while they run."""

    def __init__(self, configs: Sequence[AgentConfig], reopen: Callable[[], MessageQueue]) -> None:
        """`reopen` opens the queue, once for each. Raises ConfigError."""
        self.agents = tuple(LiveAgent(config, None, reopen=reopen) for config in configs)

    def open(self) -> None:
        """Open every socket. Raises ConfigError with all faults; then none is open."""
        faults = []
        for agent in self.agents:
            try:
                agent.open()
            except ConfigError as error:
                faults.append(str(error))
        if faults:
            self.close()
            raise ConfigError("; ".join(dict.fromkeys(faults)))

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Capture with all of them."""
        for agent in self.agents:
            agent.start(loop)

    async def stop(self, within: float) -> list[AgentCounters]:
        """Drain all of them, at the same time; their accounts."""
        return list(await asyncio.gather(*(agent.stop(within) for agent in self.agents)))

    def close(self) -> None:
        """Let go of everything. Closing twice does no harm."""
        for agent in self.agents:
            agent.close()

    def reload(self, configs: Sequence[AgentConfig]) -> list[str]:
        """Take addresses, ports and filters of these; what is different beside them needs a restart, in words.

        Raises ConfigError where one of the filters cannot be used: then all is as before, or as far as it went.
        """
        left = []
        wanted = {config.process: config for config in configs}
        for agent in self.agents:
            config = wanted.pop(agent.config.process, None)
            if config is None or config.interfaces != agent.config.interfaces:
                left.append(f"interface {'+'.join(agent.config.interfaces)} was removed or moved")
                continue
            agent.refilter(config.addresses, config.ports, config.filter)
            now = replace(
                config, addresses=agent.config.addresses, ports=agent.config.ports, filter=agent.config.filter
            )
            if now != replace(agent.config, fanout=config.fanout):
                left.append(f"settings of {'+'.join(config.interfaces)} other than its filter were changed")
        left += [f"interface {'+'.join(config.interfaces)} is new" for config in wanted.values()]
        _log.info("filters_reloaded", needs_restart=left)
        return left
