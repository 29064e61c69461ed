"""What things mean, and one door per outside system; never imports Prefect.

At the top are the words that all rooms use: errors, settings, values, events. Each folder is a room whose
`__init__` says what comes in and what goes out; a room may use those below it (import rule `rooms`).
"""
