"""What is known of a board's card. Boards go on telling the number of files of a card that was pulled out."""

from __future__ import annotations

from village_drivers.dfplayer.frames import MEDIUM_BITS, Code, Medium, Message

_NAMES = {"sd": "card", "usb": "USB drive"}


class Card:
    """The medium with the tracks."""

    def __init__(self, medium: Medium) -> None:
        self._medium = medium
        self._files: int | None = None
        self._removed = False
        self._failed = False
        #: Whether the number of files is worth a query: a card that lay empty or was changed.
        self.to_be_counted = True

    @property
    def code(self) -> str | None:
        """What is wrong (a key of `states.ADVICE`), or None."""
        if self._removed or self._files == 0:
            return "card_missing"
        return "card_failed" if self._failed else None

    @property
    def evidence(self) -> str:
        """What is known, in words."""
        name = _NAMES[self._medium]
        if self._removed:
            return f"the board reports that the {name} was pulled out"
        if self._files == 0:
            return f"the board finds no file on a {name}"
        if self._failed:
            return f"the board reports that it can't read the {name}"
        return (
            f"it does not count the files on its {name}"
            if self._files is None
            else f"{self._files} files on its {name}"
        )

    def heard(self, message: Message) -> None:
        """Take in `READY`, `INSERTED` or `REMOVED`."""
        present = bool(message.value & MEDIUM_BITS[self._medium])
        if message.code == Code.REMOVED:
            self._removed = self._removed or present
        elif message.code == Code.READY or present:
            # Some copies send READY with no bit although the card is there; then the number of files decides.
            self._removed = self._failed = False
            self._files, self.to_be_counted = None, True

    def counted(self, answer: Message | None) -> None:
        """Take in the answer to a query for the number of files."""
        if answer is None:
            # It knows no such query: asking again tells no more.
            self.to_be_counted = False
            return
        self._files = 0 if answer.code == Code.ERROR else answer.value
        self.to_be_counted = self._files == 0

    def works(self) -> None:
        """A track began: whatever was reported, the card is there."""
        self._removed = self._failed = False
        if self._files == 0:
            self._files, self.to_be_counted = None, True

    def failed(self) -> None:
        """The board reported that it can't read the card."""
        self._failed = True
