"""Moving a subscriber's call to the edge, and back: sans-IO, one host.

Read `states` first: the table is the whole of what follows what. Then `messages` (what goes in and out), `controller`
(which call, whose turn), `procedure` (what each step does), `undo` (how it is all taken back). `establishment` and
`nas_counts` are its eyes, `services` its switches, `report` what it tells.
"""
