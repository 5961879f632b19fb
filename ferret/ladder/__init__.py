"""Ladder diagrams of signalling: lanes are NFs, rows are messages in their order."""

from ferret.ladder.html import html_page
from ferret.ladder.layout import Ladder, Row, ladder_of
from ferret.ladder.text import text_lines

__all__ = ["Ladder", "Row", "html_page", "ladder_of", "text_lines"]
