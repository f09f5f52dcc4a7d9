"""A window that shows frames. It uses tkinter, because the headless OpenCV has no windows."""

from __future__ import annotations

import click
import numpy as np


class NoWindow(click.ClickException):
    """There is no screen, or tkinter is missing."""


class Window:
    """Shows frames one after the other. Use it only on the thread that created it.

    Raises
    ------
    NoWindow
        There is no screen, or Python came without tkinter.
    """

    def __init__(self, title: str):
        try:
            import tkinter
        except ImportError:
            raise NoWindow(
                "a window needs tkinter, which this Python came without (Debian: apt install python3-tk); "
                "--output FILE writes what it would show"
            ) from None
        try:
            self._root = tkinter.Tk()
        except tkinter.TclError:
            raise NoWindow("there is no screen to open a window on; --output FILE writes what it would show") from None
        self._error = tkinter.TclError
        self._root.title(title)
        self._label = tkinter.Label(self._root, borderwidth=0)
        self._label.pack()
        self.closed = False
        self._root.protocol("WM_DELETE_WINDOW", self._close)
        for key in ("<Escape>", "q"):
            self._root.bind(key, lambda event: self._close())

    @property
    def room(self) -> tuple[int, int]:
        """Maximum width and height of a frame: most of the screen."""
        return int(self._root.winfo_screenwidth() * 0.9), int(self._root.winfo_screenheight() * 0.85)

    def show(self, pixels: np.ndarray) -> None:
        """Show an RGB uint8 frame (H, W, 3), scaled down to the screen."""
        from PIL import Image, ImageTk

        if self.closed:
            return
        picture = Image.fromarray(pixels)
        picture.thumbnail(self.room)
        try:
            self._photo = ImageTk.PhotoImage(picture, master=self._root)  # tkinter does not keep it alive itself
            self._label.configure(image=self._photo)
            self._root.update()
        except self._error:
            self.closed = True

    def _close(self) -> None:
        self.closed = True

    def close(self) -> None:
        self.closed = True
        try:
            self._root.destroy()
        except self._error:
            pass  # already closed
