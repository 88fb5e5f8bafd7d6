"""Serve until Ctrl-C, so that a person can try the page against every fault there is.

    python -m tests.support.vlm_server --port 8765 --data scenes:200@0
    VISION_BENCH_LOOPBACK_URL=http://127.0.0.1:8765 streamlit run Home.py

The page then asks this server in place of Gemini, OpenAI and Together, needs no key, and marks every answer
"loopback server". The name of a model is what happens: `gemini/ok`, `openai/http-429`,
`together/loopback/cut`; the list of models shows them all. It is told the truth of the scenes or other data
named by `--data`, so that `truth-0.8` answers four in five of their prompts rightly; about any other picture
it says that it cannot tell.
"""

import argparse
import signal
import sys
import threading

from tests.support.vlm_server import LISTED, VlmServer


def main() -> None:
    """Read the command line, serve, and say how to start the app against it."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.vlm_server", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--port", type=int, default=8765, help="0 takes a free one")
    parser.add_argument(
        "--data", help="data set whose truth it is told: scenes:COUNT@SEED, a folder, a table, a zip"
    )
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin without it
    with VlmServer(options.port) as server:
        if options.data:
            _teach(server, options.data)
        sys.stdout.write(
            f"Serving {server.url}. In another terminal:\n"
            f"    VISION_BENCH_LOOPBACK_URL={server.url} streamlit run Home.py\n"
            f"Models: {', '.join(LISTED)}\nCtrl-C ends it.\n"
        )
        sys.stdout.flush()
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            sys.stdout.write(f"\n{len(server.requests)} requests, {server.most_at_once} at once.\n")


def _teach(server: VlmServer, source: str) -> None:
    from core.vlm.datasets import open_items
    from tests.support.vlm_server.truths import teach_items

    teach_items(server, open_items(source))


if __name__ == "__main__":
    main()
