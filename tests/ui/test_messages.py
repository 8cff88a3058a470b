"""What is said above the last line: for how long, what ends it, and what it costs the terminal."""

from __future__ import annotations

import asyncio

from fake import two
from screen import opened
from textual.geometry import Region

from memtop.model.sample import Life


async def test_notices_show_and_a_key_dismisses_them() -> None:
    async with opened(two()) as screen:
        screen.source.notice("ptrace was refused by the kernel", "error")
        await screen.pilot.pause()
        assert "! ptrace was refused by the kernel" in screen.text
        await screen.tick(3)
        assert "ptrace was refused" in screen.text
        await screen.press("down")
        assert "ptrace was refused" not in screen.text
        screen.source.notice("tracking writes", key=(812, 88812))
        await screen.pilot.pause()
        assert "postgres 812: tracking writes" in screen.text


async def test_a_message_leaves_without_a_trace() -> None:
    async with opened() as screen:
        drawn: list[Region] = []
        compositor = screen.live._compositor
        update = compositor.render_update
        compositor.render_update = lambda **how: (drawn.extend(compositor._dirty_regions), update(**how))[1]
        for act in (lambda: screen.source.notice("tracking writes"), screen.live.forget):
            drawn.clear()
            act()
            await screen.pilot.pause()
            assert any(region.y == screen.live.size.height - 2 for region in drawn)
            assert sum(region.area for region in set(drawn)) < 2 * screen.live.size.width, "its own line"


async def test_a_question_ends_the_time_of_a_message() -> None:
    async with opened(arm=False) as screen:
        screen.source.notice("nothing of consequence")
        await screen.pilot.pause()
        assert screen.live._leaves is not None
        screen.live.action_arm()  # as from the palette: no key has dismissed it
        await screen.pilot.pause()
        assert screen.live._leaves is None
        assert "nothing of consequence" not in screen.text


async def test_what_one_sample_says_can_be_read() -> None:
    """Of samples that come twice a second, too; a key has read it."""
    said = "samples come every 3 s, so that sampling costs memtop at most 2 % of a processor"
    async with opened() as screen:
        target = screen.source.target
        for pressed in ((), ("down",)):
            target.message = said
            await screen.tick()
            target.message = ""
            await screen.tick(5)
            assert said in screen.text
            await screen.press(*pressed)
            await screen.tick(1 if pressed else 4)
            assert said not in screen.text


async def test_ended_keeps_the_last_picture_with_a_banner() -> None:
    async with opened() as screen:
        table = screen.table
        screen.source.target.life = Life.ENDED
        screen.source.target.message = "redis-server 4711 ended at 23:41:52; this is its last picture"
        await screen.tick()
        assert "■ ended" in screen.lines[0]
        assert "ended at 23:41:52; this is its last picture" in screen.text
        assert [line[:14] for line in screen.table] == [line[:14] for line in table]
        await screen.press("w")
        assert "has ended: nothing can be done to it" in screen.text


async def test_what_is_said_of_the_process_before_does_not_hide_an_exec() -> None:
    async with opened() as screen:
        target = screen.source.target
        for severity, stays in (("information", False), ("error", True)):
            screen.source.notice("tracking writes since 23:40:00", severity)
            await screen.tick()
            assert "tracking writes since" in screen.text
            target.life, target.message = Life.EXECED, "redis-server 4711 ran exec"
            await screen.tick()
            assert ("tracking writes since" in screen.text) == stays
            assert ("ran exec" in screen.text) != stays
            target.life, target.message = Life.RUNNING, ""


async def test_ended_without_a_message_says_so_all_the_same() -> None:
    async with opened() as screen:
        screen.source.target.life = Life.ENDED
        await screen.tick()
        assert "redis-server 4711 ended; this is its last picture" in screen.text


async def test_messages_leave_nothing_behind() -> None:
    async with opened() as screen:
        tasks = len(asyncio.all_tasks())
        for i in range(50):
            screen.live.say(f"message {i}")
        await screen.pilot.pause()
        assert "message 49" in screen.text
        assert len(asyncio.all_tasks()) <= tasks + 1
        screen.live.forget()
        await screen.pilot.pause()
        assert len(asyncio.all_tasks()) <= tasks
